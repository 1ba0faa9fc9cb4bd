"""The change engine on an API in memory: apply, merge, roll back, and continue after a kill."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Change, ConfigMapKey, Edit, ObjectSpec, Target
from deploy.changes.state import read_states
from deploy.changes.update import TargetUpdate
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.fix_registry import load_editors
from mirror.core.errors import RefusedError
from tests.kubernetes_api import KilledError

COREFILE = b".:53 {\n    errors\n    forward . 9.9.9.9\n    cache 30\n}\n"
TARGET = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
WORKLOAD = ObjectSpec(kind="Deployment", namespace="shop", name="web")
SPEC = {"template": {"spec": {"containers": [{"name": "a"}]}}}
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
GUARD = Edit(fix="search-domains", options={"suffixes": ["home.example"], "keep": []})
ATTACH = Edit(fix="attach", options={"index": True, "ndots": False})
CHANGES = (
    Change(target=TARGET, edit=DNS, why="no IPv6"),
    Change(target=TARGET, edit=GUARD, why="guard"),
)


class FakeStoreCluster:
    """Objects with resourceVersions. ``kill_at`` ends the process before that write."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str | None, str], Object] = {}
        self.kill_at = 0
        self.before_write: Callable[[Object], None] | None = None
        self._writes = itertools.count(1)
        self._versions = itertools.count(1)
        self.create(_object("v1", "ConfigMap", TARGET) | {"data": {"Corefile": COREFILE.decode()}})
        self.create(_object("apps/v1", "Deployment", WORKLOAD) | {"spec": copy.deepcopy(SPEC)})

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        required = [label.split("=") for label in labels.split(",") if label]
        return [
            copy.deepcopy(obj)
            for (other, space, _), obj in self.objects.items()
            if (other, space) == (kind, namespace)
            and all(obj["metadata"].get("labels", {}).get(k) == v for k, v in required)
        ]

    def create(self, obj: Object) -> Object:
        if self.get(*_key(obj)):
            raise ApiError(409, "AlreadyExists", "", "exists", "")
        return self._store(obj)

    def replace(self, obj: Object) -> Object:
        current = self.objects.get((obj["kind"], obj["metadata"]["namespace"], _name(obj)))
        version = obj["metadata"]["resourceVersion"]
        if current is None or current["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", "", "changed", "")
        return self._store(obj)

    def delete(
        self, kind: str, name: str, namespace: str | None = None, *, resource_version: str = ""
    ) -> bool:
        self._count()
        current = self.objects.get((kind, namespace, name))
        if current and current["metadata"]["resourceVersion"] != resource_version:
            raise ApiError(409, "Conflict", "", "changed", "")
        return self.objects.pop((kind, namespace, name), None) is not None

    def edit_corefile(self, old: str, new: str) -> None:
        """Edit the Corefile as another program does."""
        obj = self.objects["ConfigMap", TARGET.namespace, TARGET.name]
        obj["data"]["Corefile"] = obj["data"]["Corefile"].replace(old, new)
        obj["metadata"]["resourceVersion"] = str(next(self._versions))

    def read_corefile(self) -> bytes:
        text = self.objects["ConfigMap", TARGET.namespace, TARGET.name]["data"]["Corefile"]
        return str(text).encode()

    def _store(self, obj: Object) -> Object:
        self._count()
        if self.before_write:
            self.before_write(obj)
        meta = {**obj["metadata"], "resourceVersion": str(next(self._versions))}
        stored = copy.deepcopy({**obj, "metadata": meta})
        self.objects[obj["kind"], meta.get("namespace"), meta["name"]] = stored
        return copy.deepcopy(stored)

    def _count(self) -> None:
        if self.kill_at and next(self._writes) == self.kill_at:
            raise KilledError


def _object(api_version: str, kind: str, target: ConfigMapKey | ObjectSpec) -> Object:
    meta = {"name": target.name, "namespace": target.namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _key(obj: Object) -> tuple[str, str, str | None]:
    return obj["kind"], _name(obj), obj["metadata"].get("namespace")


def make_engine(fake: FakeStoreCluster) -> ChangeEngine:
    return ChangeEngine(cast("Cluster", fake), load_editors())


def apply_all(fake: FakeStoreCluster, changes: tuple[Change, ...] = CHANGES) -> None:
    engine = make_engine(fake)
    for update in engine.plan(changes):
        engine.apply(update)


def roll_back(fake: FakeStoreCluster, *fixes: str, force: bool = False) -> None:
    engine = make_engine(fake)
    for update in engine.plan_rollback(fixes or ("dns", "search-domains")):
        engine.apply(update, force=force)


def states(fake: FakeStoreCluster) -> dict[str, str]:
    fixes = ("search-domains", "dns")
    return {state.fix: state.state for state in read_states(make_engine(fake), fixes)}


def plan_one(fake: FakeStoreCluster, target: Target = TARGET) -> TargetUpdate:
    engine = make_engine(fake)
    return next(engine.plan_entry(e) for e in engine.entries() if e.target == target)


def test_rollback_restores_every_byte() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    assert states(fake) == {"search-domains": "applied", "dns": "applied"}
    assert b"template ANY ANY home.example" in fake.read_corefile()
    roll_back(fake, "search-domains")
    assert states(fake) == {"search-domains": "absent", "dns": "applied"}
    roll_back(fake)
    assert fake.read_corefile() == COREFILE
    assert make_engine(fake).entries() == []


def test_a_second_run_changes_nothing() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    before = copy.deepcopy(fake.objects)
    (update,) = make_engine(fake).plan(CHANGES)
    assert update.is_noop
    apply_all(fake)
    assert fake.objects == before


def test_attachments_are_undone_on_their_own() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    apply_all(fake, (Change(target=WORKLOAD, edit=ATTACH, why=""),))
    assert states(fake)["attach"] == "applied"
    roll_back(fake)
    assert states(fake)["attach"] == "applied"
    roll_back(fake, "attach")
    assert fake.objects["Deployment", "shop", "web"]["spec"] == SPEC


def test_keeps_edits_that_others_made_elsewhere() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    fake.edit_corefile("cache 30", "cache 60")
    assert plan_one(fake).keeps_foreign_edits
    assert states(fake)["dns"] == "applied"
    apply_all(fake)
    roll_back(fake)
    assert fake.read_corefile() == COREFILE.replace(b"cache 30", b"cache 60")


def test_refuses_to_drop_edits_that_touch_ours() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    fake.edit_corefile("rcode NXDOMAIN", "rcode SERVFAIL")
    assert states(fake)["search-domains"] == "drifted"
    with pytest.raises(RefusedError, match="was edited where the fix had changed it") as error:
        roll_back(fake)
    assert "rcode SERVFAIL" in error.value.why
    roll_back(fake, force=True)
    assert fake.read_corefile() == COREFILE


def test_merges_an_edit_between_reading_and_writing() -> None:
    fake = FakeStoreCluster()
    edits = [("cache 30", "cache 60")]

    def edit_once(obj: Object) -> None:
        if _name(obj).startswith("pypi-mirror-ledger") and edits:
            fake.edit_corefile(*edits.pop())

    fake.before_write = edit_once
    apply_all(fake)
    assert b"cache 60" in fake.read_corefile()
    assert b"rcode NXDOMAIN" in fake.read_corefile()
    roll_back(fake)
    assert fake.read_corefile() == COREFILE.replace(b"cache 30", b"cache 60")


def test_gives_up_if_another_controller_keeps_writing() -> None:
    fake = FakeStoreCluster()
    numbers = itertools.count(1)

    def edit_always(obj: Object) -> None:
        if _name(obj).startswith("pypi-mirror-ledger"):
            number = next(numbers)
            fake.edit_corefile(f"cache {29 + number}", f"cache {30 + number}")

    fake.before_write = edit_always
    with pytest.raises(RefusedError, match="keeps changing"):
        apply_all(fake)
    assert b"template" not in fake.read_corefile()


@pytest.mark.parametrize("write", range(1, 4))
@pytest.mark.parametrize("then", [apply_all, roll_back])
def test_continues_after_a_kill_while_applying(
    write: int, then: Callable[[FakeStoreCluster], None]
) -> None:
    fake = FakeStoreCluster()
    fake.kill_at = write
    with pytest.raises(KilledError):
        apply_all(fake)
    fake.kill_at = 0
    then(fake)
    roll_back(fake)
    assert fake.read_corefile() == COREFILE
    assert make_engine(fake).entries() == []


@pytest.mark.parametrize("write", range(1, 4))
@pytest.mark.parametrize("then", [apply_all, roll_back])
def test_continues_after_a_kill_while_rolling_back(
    write: int, then: Callable[[FakeStoreCluster], None]
) -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    fake.kill_at = write
    with pytest.raises(KilledError):
        roll_back(fake)
    fake.kill_at = 0
    then(fake)
    roll_back(fake)
    assert fake.read_corefile() == COREFILE
    assert make_engine(fake).entries() == []


def test_refuses_entries_of_an_unknown_fix() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    engine = ChangeEngine(cast("Cluster", fake), {})
    with pytest.raises(RefusedError, match="unknown to this version"):
        engine.plan_rollback(("dns",))


def test_keeps_a_config_map_that_others_created() -> None:
    """A key that a fix added to a ConfigMap of somebody else goes; the ConfigMap stays."""
    fake = FakeStoreCluster()
    custom = ConfigMapKey(namespace="kube-system", name="coredns-custom", key="x.override")
    fake.create(_object("v1", "ConfigMap", custom) | {"data": {"y.server": "theirs"}})
    apply_all(fake, (Change(target=custom, edit=DNS, why=""),))
    assert "x.override" in fake.objects["ConfigMap", "kube-system", "coredns-custom"]["data"]
    roll_back(fake)
    custom_map: dict[str, Any] = fake.objects["ConfigMap", "kube-system", "coredns-custom"]
    assert custom_map["data"] == {"y.server": "theirs"}
