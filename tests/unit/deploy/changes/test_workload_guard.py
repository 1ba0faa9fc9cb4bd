"""No entry of the ledger, however it is forged, brings a container into a workload or creates one.

By who may write ConfigMaps in kube-system, and an administrator who rolls back with `--force`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.changes.ledger import Ledger
from deploy.changes.model import AppliedEdit, Change, Edit, LedgerEntry, ObjectSpec
from deploy.changes.workload_guard import check_workload_change
from deploy.fix_registry import build_engine
from mirror.core.errors import MirrorError, RefusedError
from mirror.merge import encode_spec
from tests.kubernetes_api import DirectCluster, MemoryApi

SYSTEM = "kube-system"
CALICO = ObjectSpec(kind="DaemonSet", name="calico-node", namespace=SYSTEM)
WEB = ObjectSpec(kind="Deployment", name="web", namespace="default")
EVIL = {"name": "evil", "image": "evil", "securityContext": {"privileged": True}}


def build_container(name: str = "calico-node", ip6: str = "autodetect", **more: Any) -> Any:
    env = [{"name": "IP6", "value": ip6}, {"name": "FELIX_LOGLEVEL", "value": "info"}]
    return {"name": name, "image": "calico/node", "env": env, **more}


def build_spec(*containers: Any, **pod: Any) -> dict[str, Any]:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [*containers], **pod}}
    return {"selector": {"matchLabels": labels}, "template": template}


def seed(api: MemoryApi, target: ObjectSpec, spec: Any) -> None:
    meta = {"name": target.name, "namespace": target.namespace}
    api.seed({"apiVersion": "apps/v1", "kind": target.kind, "metadata": meta, "spec": spec})


def forge(api: MemoryApi, target: ObjectSpec, fix: str, base: Any, written: Any) -> None:
    options = {"index": True, "ndots": True} if fix == "attach" else {}
    edit = AppliedEdit(edit=Edit(fix=fix, options=options), step=1, steps=1)
    contents = [None if spec is None else encode_spec(spec) for spec in (base, written)]
    entry = LedgerEntry(target=target, base=contents[0], edits=(edit,), written=contents[1])
    Ledger(DirectCluster(api)).put(entry, None)


def roll_back(api: MemoryApi, fix: str) -> Iterator[MirrorError]:
    """Roll back with force; yield what cannot be planned or written."""
    engine = build_engine(DirectCluster(api))
    failures: list[Any] = []
    with engine.hold_lease():
        for update in engine.plan_rollback([fix], None, failures):
            try:
                engine.apply(update, force=True)
            except MirrorError as error:
                yield error
    yield from (failure.error for failure in failures)


def test_a_forged_entry_brings_no_container_into_a_daemon_set() -> None:
    """Its doubled names make the merge take lists as text, and force takes the forged part."""
    api = MemoryApi()
    seed(api, CALICO, build_spec(build_container()))
    before = api.read("DaemonSet", "calico-node", SYSTEM)
    real = before["spec"]["template"]["spec"]["containers"][0]
    bad = [{**build_container(ip6=ip6), **EVIL} for ip6 in ("autodetect", "none")]
    for item in bad:
        item["env"] = item["env"][:1]
    fixed = {**real, "env": [{**real["env"][0], "value": "none"}, *real["env"][1:]]}
    base, written = (build_spec(item, fixed, fixed) for item in bad)
    forge(api, CALICO, "host-sysctl", base, written)
    fixed_spec = {**before["spec"], "template": build_spec(fixed)["template"]}
    cluster = DirectCluster(api)
    cluster.replace({**before, "spec": fixed_spec})
    (error,) = roll_back(api, "host-sysctl")
    assert "would change more than mirror ever does" in str(error)
    (container,) = api.read("DaemonSet", "calico-node", SYSTEM)["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == "calico/node"


@pytest.mark.parametrize(
    ("target", "fix", "written"),
    [
        (CALICO, "host-sysctl", build_spec(build_container(ip6="none"), EVIL)),
        (WEB, "attach", build_spec(build_container(), EVIL)),
    ],
)
def test_a_forged_entry_creates_no_workload_that_is_not_there(
    target: ObjectSpec, fix: str, written: Any
) -> None:
    """Such as calico-node in a cluster with another network."""
    api = MemoryApi()
    base = build_spec(build_container(), EVIL)
    if fix == "attach":
        engine = build_engine(DirectCluster(api))
        seed(api, target, base)
        edit = Edit(fix="attach", options={"index": True, "ndots": True})
        (update,) = engine.plan([Change(target=target, edit=edit, why="")])
        written = json.loads(update.after or b"")
        base = api.read(target.kind, target.name, str(target.namespace))["spec"]
        api.remove(target.kind, target.name, str(target.namespace))
    forge(api, target, fix, base, written)
    (error,) = roll_back(api, fix)
    assert "nothing proves that this copy" in str(error)
    assert not api.has(target.kind, target.name, str(target.namespace))


BASE = build_spec(build_container())


@pytest.mark.parametrize(
    "after",
    [
        build_spec(build_container(), EVIL),
        build_spec(build_container(image="evil")),
        build_spec(build_container(command=["id"])),
        build_spec(build_container(securityContext={"privileged": True})),
        build_spec(build_container(envFrom=[{"configMapRef": {"name": "evil"}}])),
        build_spec(build_container(envFrom=[{"secretRef": {"name": "pypi-mirror-env"}}])),
        build_spec({**build_container(), "env": [{"name": "LD_PRELOAD", "value": "/evil.so"}]}),
        build_spec(build_container(), hostPID=True),
        build_spec(build_container(), initContainers=[EVIL]),
        build_spec(build_container(), dnsConfig={"nameservers": ["10.0.0.1"]}),
        build_spec(build_container(), volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        {**BASE, "updateStrategy": {"type": "OnDelete"}},
    ],
)
def test_refuses_what_no_edit_changes(after: Any) -> None:
    with pytest.raises(RefusedError, match="is not written"):
        check_workload_change(CALICO, encode_spec(BASE), encode_spec(after))


@pytest.mark.parametrize(
    "after",
    [
        build_spec(build_container(ip6="none")),
        build_spec({**build_container(), "env": build_container()["env"][1:]}),
        build_spec(build_container(envFrom=[{"configMapRef": {"name": "pypi-mirror-env"}}])),
        build_spec(build_container(), dnsConfig={"options": [{"name": "ndots", "value": "1"}]}),
    ],
)
def test_allows_what_edits_change(after: Any) -> None:
    check_workload_change(CALICO, encode_spec(BASE), encode_spec(after))
    check_workload_change(CALICO, encode_spec(after), encode_spec(BASE))


def test_an_entry_that_was_not_forged_is_rolled_back() -> None:
    api = MemoryApi()
    seed(api, CALICO, BASE)
    before = api.read("DaemonSet", "calico-node", SYSTEM)["spec"]
    engine = build_engine(DirectCluster(api))
    edit = Edit(fix="host-sysctl")
    with engine.hold_lease():
        for update in engine.plan([Change(target=CALICO, edit=edit, why="")]):
            engine.apply(update)
    assert api.read("DaemonSet", "calico-node", SYSTEM)["spec"] != before
    assert [*roll_back(api, "host-sysctl")] == []
    assert api.read("DaemonSet", "calico-node", SYSTEM)["spec"] == before
