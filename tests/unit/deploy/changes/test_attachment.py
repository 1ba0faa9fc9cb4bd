"""Workloads: what is put in, once, into every container."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.changes.attachment import AttachmentEditor
from deploy.changes.model import Edit, ObjectSpec
from mirror.merge import encode_spec

EDITOR = AttachmentEditor()
BOTH = Edit(fix="attach", options={"index": True, "ndots": True})
TAKEN = {"configMapRef": {"name": "pypi-mirror-env"}}
NDOTS = {"name": "ndots", "value": "1"}


def target(kind: str) -> ObjectSpec:
    return ObjectSpec(kind=kind, name="x", namespace="default")


def edited(kind: str, spec: Any) -> Any:
    made = EDITOR.edit(BOTH, target(kind), encode_spec(spec))
    assert made is not None
    assert EDITOR.edit(BOTH, target(kind), made) == made, "once"
    return json.loads(made)


def test_every_container_takes_it_last() -> None:
    pod = {
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "s"}}]}, {"name": "b"}],
    }
    made = edited("Deployment", {"template": {"spec": pod}})["template"]["spec"]
    assert made["initContainers"][0]["envFrom"] == [TAKEN]
    assert made["containers"][0]["envFrom"] == [{"secretRef": {"name": "s"}}, TAKEN]
    assert made["containers"][1]["envFrom"] == [TAKEN]
    assert made["dnsConfig"] == {"options": [NDOTS]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([{"name": "ndots", "value": "2"}], [NDOTS]),
        ([{"name": "edns0"}], [{"name": "edns0"}, NDOTS]),
    ],
)
def test_other_options_of_dns_stay(before: list[Any], after: list[Any]) -> None:
    pod = {"containers": [{"name": "a"}], "dnsConfig": {"options": before}}
    made = edited("StatefulSet", {"template": {"spec": pod}})
    assert made["template"]["spec"]["dnsConfig"]["options"] == after


def test_a_cron_jobs_pods_are_deeper_down() -> None:
    job = {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
    made = edited("CronJob", {"jobTemplate": job, "schedule": "* * * * *"})
    pod = made["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [TAKEN]


@pytest.mark.parametrize(
    ("index", "ndots", "command"),
    [
        (True, False, "mirror attach statefulset/db -n shop"),
        (True, True, "mirror attach statefulset/db -n shop --ndots"),
        (False, True, "mirror attach statefulset/db -n shop --ndots --no-index"),
    ],
)
def test_the_command_that_makes_it_again(index: bool, ndots: bool, command: str) -> None:
    target = ObjectSpec(kind="StatefulSet", name="db", namespace="shop")
    assert (
        EDITOR.reapply_command(target, Edit(fix="attach", options={"index": index, "ndots": ndots}))
        == command
    )
