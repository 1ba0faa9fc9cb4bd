"""What is wholly ours has no edits of others: drift is overwritten, a rollback deletes it.

The node defaults are such a ConfigMap: agents read it, and whoever may write ConfigMaps in
kube-system may alter it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.ledger import Ledger
from deploy.changes.model import AppliedEdit, Change, ConfigMapKey, Edit, LedgerEntry
from deploy.changes.state import read_states
from deploy.fix_registry import load_editors
from deploy.fixes.host_sysctl import render_defaults
from tests.kubernetes_api import DirectCluster, MemoryApi

NAME = "pypi-mirror-node-orders"
ORDERS = ConfigMapKey(namespace="kube-system", name=NAME, key="orders.json")
EDIT = Edit(fix="host-sysctl")
CHANGE = Change(target=ORDERS, edit=EDIT, why="nodes that join")
EVIL = json.dumps([{"target": "/etc/cron.d/evil", "content": "* * * * * root x\n"}])


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


def make_engine(api: MemoryApi) -> ChangeEngine:
    return ChangeEngine(DirectCluster(api), load_editors())


def apply(api: MemoryApi) -> bool:
    """Apply the fix without force; return whether anything was written."""
    engine = make_engine(api)
    (update,) = engine.plan([CHANGE])
    return not engine.apply(update).is_noop


def roll_back(api: MemoryApi) -> None:
    engine = make_engine(api)
    for update in engine.plan_rollback(["host-sysctl"]):
        engine.apply(update)


def read_orders(api: MemoryApi) -> Any:
    return api.read("ConfigMap", NAME, "kube-system")


def replace_orders(obj: Any) -> None:
    obj["data"] = {"orders.json": EVIL}


def add_orders(obj: Any) -> None:
    orders = json.loads(obj["data"]["orders.json"])
    obj["data"]["orders.json"] = json.dumps([*orders, *json.loads(EVIL)], indent=1) + "\n"


def add_key(obj: Any) -> None:
    obj["data"]["orders.json"] += "\n"
    obj["data"]["more.json"] = EVIL


def take_labels_away(obj: Any) -> None:
    replace_orders(obj)
    obj["metadata"]["labels"] = {}


def make_immutable(obj: Any) -> None:
    replace_orders(obj)
    obj["immutable"] = True


TAMPERING = [replace_orders, add_orders, add_key, take_labels_away, make_immutable]


@pytest.mark.parametrize("tamper", TAMPERING)
def test_a_fix_overwrites_what_others_wrote(api: MemoryApi, tamper: Callable[[Any], None]) -> None:
    """Without --force: there is nothing of theirs to keep."""
    apply(api)
    api.edit("ConfigMap", NAME, "kube-system", tamper)
    (state,) = read_states(make_engine(api), ["host-sysctl"])
    assert state.state == "drifted"
    assert state.reapply_command == "mirror fix host-sysctl"
    assert apply(api)
    orders = read_orders(api)
    assert orders["data"] == {"orders.json": render_defaults()}
    assert not orders.get("immutable")
    assert not apply(api), "once more changes nothing"
    roll_back(api)
    assert not api.has("ConfigMap", NAME, "kube-system")


@pytest.mark.parametrize("tamper", TAMPERING)
def test_a_rollback_deletes_what_others_wrote(
    api: MemoryApi, tamper: Callable[[Any], None]
) -> None:
    before = api.dump()
    apply(api)
    api.edit("ConfigMap", NAME, "kube-system", tamper)
    roll_back(api)
    assert api.dump() == before


def test_orders_that_were_there_before_the_fix_are_no_base(api: MemoryApi) -> None:
    """S4: they were adopted by the next fix, and put back by its rollback."""
    metadata = {"name": NAME, "namespace": "kube-system"}
    api.seed({"kind": "ConfigMap", "metadata": metadata, "data": {"orders.json": EVIL}})
    assert apply(api)
    (entry,) = make_engine(api).entries()
    assert entry.base is None
    roll_back(api)
    assert not api.has("ConfigMap", NAME, "kube-system")


@pytest.mark.parametrize("base", [None, EVIL.encode()], ids=["as 0.1.0", "as 0.1.0 adopted it"])
def test_takes_over_what_version_0_1_0_left(api: MemoryApi, base: bytes | None) -> None:
    """Its text without a schema number stays as it is; what it had adopted is not put back."""
    earlier = render_defaults(schema=None).encode()
    assert b"schema" not in earlier
    assert b'"schema": 1' in render_defaults().encode()
    edits = (AppliedEdit(edit=EDIT, step=1, steps=1, why="nodes that join"),)
    entry = LedgerEntry(target=ORDERS, base=base, edits=edits, written=earlier)
    Ledger(DirectCluster(api)).put(entry, None)
    metadata = {"name": NAME, "namespace": "kube-system"}
    api.seed({"kind": "ConfigMap", "metadata": metadata, "data": {"orders.json": earlier.decode()}})
    (state,) = read_states(make_engine(api), ["host-sysctl"])
    assert state.state == "applied"
    apply(api)
    assert read_orders(api)["data"]["orders.json"] == earlier.decode()
    roll_back(api)
    assert not api.has("ConfigMap", NAME, "kube-system")
