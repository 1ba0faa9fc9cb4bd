"""Evidence: needs, gaps, and subjects that were not seen."""

from __future__ import annotations

import dataclasses

import pytest

from deploy.evidence.dns import DnsService, NodeDns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen, require_seen
from mirror.core.codec import DecodeError, dump, load

EVIDENCE = Evidence(
    context="lab",
    server="https://192.0.2.1:16443",
    taken="2026-01-01T00:00:00+00:00",
    nodes=(NodeState(name="ra", ready=True, architecture="amd64", addresses=("192.0.2.3",)),),
    dns_service=None,
    pod_dns=(NodeDns(node="ra", view=Unseen(reason="no image")),),
)


def test_survives_json() -> None:
    assert load(Evidence, dump(EVIDENCE)) == EVIDENCE


def test_a_subject_missing_from_json_is_unseen() -> None:
    document = dump(EVIDENCE)
    del document["corefile"]
    assert isinstance(load(Evidence, document).corefile, Unseen)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("context", 7, r"\$.context is int '7'"),
        ("nodes", "ra", r"\$.nodes matches none of tuple, Unseen"),
        ("nodes", [{"name": "ra"}], r"\$.nodes\[0\] does not match NodeState"),
        ("more", 1, r"\$ does not match Evidence"),
    ],
)
def test_rejects_json_that_is_not_evidence(key: str, value: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load(Evidence, {**dump(EVIDENCE), key: value})


def test_every_need_is_a_field() -> None:
    assert {need.value for need in Need} <= {field.name for field in dataclasses.fields(Evidence)}


def test_gaps_list_the_nodes_of_each_reason() -> None:
    unseen = Unseen(reason="no image")
    views = tuple(NodeDns(node=name, view=unseen) for name in ("anubis", "ra"))
    evidence = dataclasses.replace(EVIDENCE, pod_dns=views)
    assert evidence.gaps(Need.POD_DNS) == ("anubis, ra: no image",)
    assert evidence.is_unseen(Need.POD_DNS)
    assert evidence.gaps(Need.NODES) == ()


def test_require_seen_rejects_what_was_not_seen() -> None:
    service = DnsService(name="kube-system/kube-dns", addresses=(), selector="")
    assert require_seen(service) is service
    with pytest.raises(LookupError, match="no right"):
        require_seen(Unseen(reason="no right"))
