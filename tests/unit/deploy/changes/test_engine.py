"""The change engine: apply, merge with the edits of others, roll back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Change, ConfigMapKey, Edit, ObjectSpec, Target
from deploy.changes.state import read_states
from deploy.changes.update import TargetUpdate
from deploy.cluster.client import ApiError
from mirror.core.errors import ClusterError, RefusedError
from tests.fix_targets import (
    BASE_COREFILE,
    CHANGES,
    COREFILE,
    FIXES,
    WEB_DEPLOYMENT,
    FixTargets,
    apply_fixes,
    roll_back_fixes,
)
from tests.kubernetes_api import CALICO_V1, CALICO_V3, DirectCluster, MemoryApi, Rule, on
from tests.kubernetes_api.failures import Match

SYSTEM = "kube-system"
MAPS = f"/api/v1/namespaces/{SYSTEM}/configmaps"
BOTH = ("dns", "search-domains")
ALL_FIXES = (*BOTH, "attach", "removal")
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})


def apply_changes(targets: FixTargets, *changes: Change) -> None:
    engine = targets.make_engine()
    for update in engine.plan(changes):
        engine.apply(update)


def states(targets: FixTargets, *fixes: str) -> dict[str, str]:
    return {state.fix: state.state for state in read_states(targets.make_engine(), fixes)}


def plan_one(targets: FixTargets, target: Target = COREFILE) -> TargetUpdate:
    engine = targets.make_engine()
    return next(engine.plan_entry(e) for e in engine.entries() if e.target == target)


def edit_corefile(targets: FixTargets, old: str, new: str) -> None:
    targets.write_corefile(targets.read_corefile().replace(old, new))


# -- apply and roll back --------------------------------------------------------------------------


def test_rollback_restores_every_byte(api: MemoryApi, targets: FixTargets) -> None:
    before = targets.read_state()
    apply_fixes(targets, *ALL_FIXES)
    after = targets.read_state()
    assert "template ANY ANY home.example" in after["corefile"]
    assert "prefer_udp" in after["corefile"]
    assert "pypi-mirror-env" in after["web"]
    assert after["policy"] is None
    assert states(targets, *ALL_FIXES) == dict.fromkeys(ALL_FIXES, "applied")
    roll_back_fixes(targets, *ALL_FIXES)
    assert targets.read_state() == before
    assert targets.list_leftovers() == []


def test_a_fix_is_rolled_back_without_the_others(targets: FixTargets) -> None:
    apply_fixes(targets, *BOTH)
    roll_back_fixes(targets, "search-domains")
    assert states(targets, *BOTH) == {"search-domains": "absent", "dns": "applied"}
    roll_back_fixes(targets, *BOTH)
    assert targets.read_corefile() == BASE_COREFILE
    assert targets.make_engine().entries() == []


def test_a_second_run_writes_nothing(api: MemoryApi, targets: FixTargets) -> None:
    apply_fixes(targets, *ALL_FIXES)
    before = api.dump()
    engine = targets.make_engine()
    updates = engine.plan([change for fix in ALL_FIXES for change in CHANGES[fix]])
    assert [update.is_noop for update in updates] == [True] * 3
    api.requests.clear()
    for update in updates:
        engine.apply(update)
    assert api.list_writes() == []
    assert api.dump() == before
    roll_back_fixes(targets, *ALL_FIXES)
    assert targets.make_engine().plan_rollback(ALL_FIXES) == []


@pytest.mark.parametrize("operation", ["apply", "roll back"])
def test_planning_writes_nothing(api: MemoryApi, targets: FixTargets, operation: str) -> None:
    apply_fixes(targets, "dns")
    before = api.dump()
    api.requests.clear()
    engine = targets.make_engine()
    if operation == "apply":
        updates = engine.plan([change for fix in ALL_FIXES for change in CHANGES[fix]])
    else:
        updates = engine.plan_rollback(ALL_FIXES)
    assert any(update.changes_target for update in updates)
    assert api.list_writes() == []
    assert api.dump() == before


def test_attachments_are_undone_on_their_own(targets: FixTargets) -> None:
    before = targets.read_state()["web"]
    apply_fixes(targets, *BOTH, "attach")
    roll_back_fixes(targets, *BOTH)
    assert states(targets, "attach") == {"attach": "applied"}
    roll_back_fixes(targets, "attach")
    assert targets.read_state()["web"] == before


def test_keeps_a_config_map_that_others_created(api: MemoryApi, targets: FixTargets) -> None:
    """A key that a fix added to a ConfigMap of somebody else goes; the ConfigMap stays."""
    custom = ConfigMapKey(namespace=SYSTEM, name="coredns-custom", key="x.override")
    metadata = {"name": custom.name, "namespace": SYSTEM}
    api.seed({"kind": "ConfigMap", "metadata": metadata, "data": {"y.server": "theirs"}})
    apply_changes(targets, Change(target=custom, edit=DNS, why=""))
    assert "x.override" in api.read("ConfigMap", custom.name, SYSTEM)["data"]
    roll_back_fixes(targets, "dns")
    assert api.read("ConfigMap", custom.name, SYSTEM)["data"] == {"y.server": "theirs"}


def test_removes_a_config_map_that_a_fix_created(api: MemoryApi, targets: FixTargets) -> None:
    custom = ConfigMapKey(namespace=SYSTEM, name="coredns-custom", key="x.override")
    apply_changes(targets, Change(target=custom, edit=DNS, why=""))
    assert api.has("ConfigMap", custom.name, SYSTEM)
    roll_back_fixes(targets, "dns")
    assert not api.has("ConfigMap", custom.name, SYSTEM)


def test_recreates_a_removed_object_of_the_second_api(targets: FixTargets, api: MemoryApi) -> None:
    api.serve(*CALICO_V3)
    spec = {"cidr": "fd00::/48", "disabled": False}
    metadata = {"name": "six", "labels": {"a": "b"}, "annotations": {"c": "d"}}
    api.seed({"kind": "IPPool", "metadata": metadata, "spec": spec})
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    apply_changes(targets, Change(target=target, edit=Edit(fix="removal"), why=""))
    assert not api.has("IPPool", "six")
    roll_back_fixes(targets, "removal")
    pool = api.read("IPPool", "six")
    assert pool["spec"] == spec
    assert pool["metadata"]["labels"] == {"a": "b"}
    assert pool["metadata"]["annotations"] == {"c": "d"}


def test_refuses_entries_of_an_unknown_fix(targets: FixTargets) -> None:
    apply_fixes(targets, "dns")
    engine = ChangeEngine(targets.connect(), {})
    with pytest.raises(RefusedError, match="unknown to this version"):
        engine.plan_rollback(("dns",))


# -- the edits of others --------------------------------------------------------------------------


def test_keeps_edits_that_others_made_elsewhere(targets: FixTargets) -> None:
    apply_fixes(targets, *BOTH)
    edit_corefile(targets, "cache 30", "cache 60")
    assert plan_one(targets).keeps_foreign_edits
    assert states(targets, "dns")["dns"] == "applied"
    apply_fixes(targets, *BOTH)
    roll_back_fixes(targets, *BOTH)
    assert targets.read_corefile() == BASE_COREFILE.replace("cache 30", "cache 60")


def test_keeps_edits_of_a_workload(api: MemoryApi, targets: FixTargets) -> None:
    before = targets.read_state()["web"]
    apply_fixes(targets, "attach")

    def edit(deployment: Any) -> None:
        deployment["spec"]["replicas"] = 3
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["image"] = "web:2"
        container["envFrom"].append({"secretRef": {"name": "mine"}})

    api.edit("Deployment", "web", "default", edit)
    assert states(targets, "attach")["attach"] == "applied"
    roll_back_fixes(targets, "attach")
    expected = json.loads(before)
    expected["replicas"] = 3
    expected["template"]["spec"]["containers"][0] |= {
        "image": "web:2",
        "envFrom": [{"secretRef": {"name": "mine"}}],
    }
    assert api.read("Deployment", "web", "default")["spec"] == expected


@pytest.mark.parametrize(
    ("fixes", "fix", "old", "new"),
    [
        (BOTH, "search-domains", "rcode NXDOMAIN", "rcode SERVFAIL"),
        (("dns",), "dns", "rcode NOERROR", "rcode NXDOMAIN"),
    ],
)
def test_refuses_to_drop_edits_that_touch_ours(
    targets: FixTargets, fixes: tuple[str, ...], fix: str, old: str, new: str
) -> None:
    apply_fixes(targets, *fixes)
    edit_corefile(targets, old, new)
    edited = targets.read_corefile()
    assert states(targets, fix)[fix] == "drifted"
    with pytest.raises(RefusedError, match="was edited where the fix had changed it") as error:
        roll_back_fixes(targets, *fixes)
    assert error.value.exit_code == 5
    assert new in error.value.why
    assert targets.read_corefile() == edited
    roll_back_fixes(targets, *fixes, force=True)
    assert targets.read_corefile() == BASE_COREFILE


def test_merges_an_edit_between_planning_and_writing(targets: FixTargets) -> None:
    engine = targets.make_engine()
    (update,) = engine.plan(CHANGES["dns"])
    edit_corefile(targets, "cache 30", "cache 31")
    applied = engine.apply(update)
    assert applied.before != update.before
    assert "cache 31" in targets.read_corefile()
    assert "template IN AAAA" in targets.read_corefile()
    roll_back_fixes(targets, "dns")
    assert targets.read_corefile() == BASE_COREFILE.replace("cache 30", "cache 31")


@pytest.mark.parametrize("write", [f"POST {MAPS}", f"PUT {MAPS}/coredns", f"PUT {MAPS}/pypi-*"])
def test_merges_an_edit_right_before_a_write(
    api: MemoryApi, targets: FixTargets, write: str
) -> None:
    api.failures.run(on(*write.split()), lambda _: edit_corefile(targets, "cache 30", "cache 60"))
    apply_fixes(targets, *BOTH)
    assert "cache 60" in targets.read_corefile()
    assert "rcode NXDOMAIN" in targets.read_corefile()
    roll_back_fixes(targets, *BOTH)
    assert targets.read_corefile() == BASE_COREFILE.replace("cache 30", "cache 60")


def test_gives_up_if_another_controller_keeps_writing(api: MemoryApi, targets: FixTargets) -> None:
    numbers = itertools.count(30)

    def edit(_: object) -> None:
        number = next(numbers)
        edit_corefile(targets, f"cache {number}", f"cache {number + 1}")

    api.failures.run(
        lambda request: (
            request.matches("PUT", f"{MAPS}/coredns") and "template" in str(request.body)
        ),
        edit,
        times=None,
    )
    with pytest.raises(RefusedError, match="keeps changing"):
        apply_fixes(targets, *BOTH)
    assert "template" not in targets.read_corefile()
    assert next(numbers) > 31


def test_another_writer_of_the_ledger_is_not_overwritten(
    api: MemoryApi, targets: FixTargets
) -> None:
    """A command whose Lease ran out meets the entry that its successor wrote."""
    other = FixTargets.in_memory(api)

    def write_as_other(_: object) -> None:
        apply_changes(other, *CHANGES["search-domains"])

    api.failures.run(on("POST", MAPS), write_as_other)
    with pytest.raises(RefusedError, match="another command has changed the fixes of"):
        apply_changes(targets, *CHANGES["dns"])
    assert states(targets, *BOTH) == {"dns": "absent", "search-domains": "applied"}
    apply_changes(targets, *CHANGES["dns"])
    assert states(targets, *BOTH) == {"dns": "applied", "search-domains": "applied"}
    roll_back_fixes(targets, *BOTH)
    assert targets.read_corefile() == BASE_COREFILE
    assert targets.list_leftovers() == []


def test_an_object_that_is_deleted_before_the_write_stays_deleted(
    api: MemoryApi, targets: FixTargets
) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    api.failures.run(on("PUT", path), lambda _: api.remove("Deployment", "web", "default"))
    with pytest.raises((RefusedError, ClusterError)):
        apply_fixes(targets, "attach")
    assert not api.has("Deployment", "web", "default")


# -- rights ---------------------------------------------------------------------------------------

LEASES = "leases"
RIGHTS = [
    ("get", "configmaps"),
    ("list", "configmaps"),
    ("create", "configmaps"),
    ("update", "configmaps"),
    ("delete", "configmaps"),
    ("get", LEASES),
    ("create", LEASES),
    ("update", LEASES),
    ("delete", LEASES),
    ("get", "deployments"),
    ("update", "deployments"),
    ("get", "ippools"),
    ("create", "ippools"),
    ("update", "ippools"),
    ("delete", "ippools"),
]


@pytest.mark.parametrize("missing", RIGHTS, ids=" ".join)
def test_names_a_missing_right_and_writes_nothing(
    api: MemoryApi, targets: FixTargets, missing: tuple[str, str]
) -> None:
    api.serve(*CALICO_V1)
    user = api.add_user("limited", [Rule(*right) for right in RIGHTS])
    user.rules.append(Rule("list", "ippools"))  # to find out which API has them
    engine = ChangeEngine(DirectCluster(api, user), FIXES)
    updated: list[Target] = [COREFILE, WEB_DEPLOYMENT, ObjectSpec(kind="IPPool", name="six")]
    engine.check_permissions(updated)
    user.withheld.append(Rule(*missing))
    where = {
        "configmaps": f"in namespace {SYSTEM}",
        "leases": f"in namespace {SYSTEM}",
        "deployments": "in namespace default",
        "ippools": "in the whole cluster",
    }[missing[1]]
    with pytest.raises(ClusterError) as error:
        engine.check_permissions(updated)
    assert error.value.what == f"missing permissions: {' '.join(missing)} {where}"
    assert api.list_writes("limited") == []


@pytest.mark.parametrize("path", [f"{MAPS}/coredns", f"{MAPS}/pypi-mirror-ledger-*"])
@pytest.mark.parametrize("status", [403, 500, 503])
def test_what_cannot_be_read_is_not_taken_for_absent(
    api: MemoryApi, targets: FixTargets, path: str, status: int
) -> None:
    apply_fixes(targets, "dns")
    before = api.dump()
    for operation in (apply_fixes, roll_back_fixes):
        api.failures.refuse(on("GET", path), status, times=None)
        with pytest.raises(ApiError) as error:
            operation(targets, *BOTH) if operation is apply_fixes else operation(targets, "dns")
        assert error.value.status == status
        api.failures.revive()
    assert api.dump() == before


@pytest.mark.parametrize("status", [403, 422, 500])
@pytest.mark.parametrize("number", range(1, 4))
def test_a_refused_write_can_be_repeated_or_rolled_back(
    api: MemoryApi, targets: FixTargets, number: int, status: int
) -> None:
    """Number 1 is the entry, 2 the target, 3 the entry again."""
    for then in (apply_fixes, roll_back_fixes):
        api.failures.refuse(_make_counter(number), status)
        with pytest.raises(ApiError) as error:
            apply_fixes(targets, "dns")
        assert error.value.status == status
        then(targets, "dns")
        roll_back_fixes(targets, "dns")
        assert targets.read_corefile() == BASE_COREFILE
        assert targets.list_leftovers() == []


def _make_counter(number: int) -> Match:
    """Return a match for the number-th write, without those of the Lease."""
    seen = itertools.count(1)
    return lambda request: request.is_write and "lease" not in request.path and next(seen) == number
