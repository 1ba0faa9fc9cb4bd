"""The edit of `mirror attach`: every container gets the index once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.changes.attachment import AttachmentEditor
from deploy.changes.model import Edit, ObjectSpec
from mirror.merge import encode_spec

EDITOR = AttachmentEditor()
BOTH = Edit(fix="attach", options={"index": True, "ndots": True})
INDEX = {"configMapRef": {"name": "pypi-mirror-env"}}
NDOTS = {"name": "ndots", "value": "1"}


def target(kind: str) -> ObjectSpec:
    return ObjectSpec(kind=kind, name="x", namespace="default")


def attach(kind: str, spec: Any) -> Any:
    edited = EDITOR.edit(BOTH, target(kind), encode_spec(spec))
    assert edited is not None
    assert EDITOR.edit(BOTH, target(kind), edited) == edited, "idempotent"
    return json.loads(edited)


def test_adds_the_index_last_in_every_container() -> None:
    pod = {
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "s"}}]}, {"name": "b"}],
    }
    spec = attach("Deployment", {"template": {"spec": pod}})["template"]["spec"]
    assert spec["initContainers"][0]["envFrom"] == [INDEX]
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "s"}}, INDEX]
    assert spec["containers"][1]["envFrom"] == [INDEX]
    assert spec["dnsConfig"] == {"options": [NDOTS]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"name": "ndots", "value": "2"}], [NDOTS]),
        ([{"name": "edns0"}], [{"name": "edns0"}, NDOTS]),
    ],
)
def test_keeps_other_dns_options(before: list[Any], after: list[Any]) -> None:
    pod = {"containers": [{"name": "a"}], "dnsConfig": {"options": before}}
    spec = attach("StatefulSet", {"template": {"spec": pod}})
    assert spec["template"]["spec"]["dnsConfig"]["options"] == after


def test_finds_the_pod_spec_of_a_cron_job() -> None:
    job = {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
    spec = attach("CronJob", {"jobTemplate": job, "schedule": "* * * * *"})
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [INDEX]


@pytest.mark.parametrize(
    ("index", "ndots", "command"),
    [
        (True, False, "mirror attach statefulset/db -n shop"),
        (True, True, "mirror attach statefulset/db -n shop --ndots"),
        (False, True, "mirror attach statefulset/db -n shop --ndots --no-index"),
    ],
)
def test_reapply_command_has_the_options(index: bool, ndots: bool, command: str) -> None:
    target = ObjectSpec(kind="StatefulSet", name="db", namespace="shop")
    edit = Edit(fix="attach", options={"index": index, "ndots": ndots})
    assert EDITOR.reapply_command(target, edit) == command
