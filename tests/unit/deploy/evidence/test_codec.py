"""Evidence as JSON and back."""

from __future__ import annotations

import dataclasses

import pytest

from deploy.evidence.codec import dump, load
from deploy.evidence.dns import DnsService, NodeDns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen, require_seen
from mirror.core.errors import InputError

EVIDENCE = Evidence(
    context="lab",
    server="https://192.0.2.1:16443",
    taken="2026-01-01T00:00:00+00:00",
    nodes=(NodeState(name="ra", ready=True, architecture="amd64", addresses=("192.0.2.3",)),),
    dns_service=None,
    pod_dns=(NodeDns(node="ra", view=Unseen(reason="no image")),),
)


def test_there_and_back() -> None:
    assert load(Evidence, dump(EVIDENCE)) == EVIDENCE


def test_what_was_left_out_is_not_asked() -> None:
    told = dump(EVIDENCE)
    del told["corefile"]
    assert isinstance(load(Evidence, told).corefile, Unseen)


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("context", 7, r"\$.context is int '7'"),
        ("nodes", "ra", r"\$.nodes is none of tuple, Unseen"),
        ("nodes", [{"name": "ra"}], r"\$.nodes\[0\] is no Node"),
        ("more", 1, r"\$ is no Evidence"),
    ],
)
def test_what_does_not_fit_is_named(field: str, value: object, place: str) -> None:
    with pytest.raises(InputError, match=place):
        load(Evidence, {**dump(EVIDENCE), field: value})


def test_every_need_is_a_field() -> None:
    assert {need.value for need in Need} <= {one.name for one in dataclasses.fields(Evidence)}


def test_gaps_name_the_nodes_once_a_reason() -> None:
    unseen = Unseen(reason="no image")
    views = tuple(NodeDns(node=name, view=unseen) for name in ("anubis", "ra"))
    both = dataclasses.replace(EVIDENCE, pod_dns=views)
    assert both.gaps(Need.POD_DNS) == ("anubis, ra: no image",)
    assert both.is_unseen(Need.POD_DNS)
    assert both.gaps(Need.NODES) == ()


def test_the_unseen_cannot_be_looked_at() -> None:
    service = DnsService(name="kube-system/kube-dns", addresses=(), selector="")
    assert require_seen(service) is service
    with pytest.raises(LookupError, match="no right"):
        require_seen(Unseen(reason="no right"))
