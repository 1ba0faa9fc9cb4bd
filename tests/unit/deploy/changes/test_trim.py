"""The ledger keeps only the inverse of an attachment, and shows no secret of a workload."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from deploy.changes.masked import mask_conflict
from deploy.changes.model import Change, ConfigMapKey
from deploy.changes.trim import contains, trim
from deploy.changes.update import render_diff
from mirror.core.errors import RefusedError
from mirror.merge import MergeConflict, encode_spec, undo_change
from tests.kubernetes_api import KilledError
from tests.unit.deploy.changes.test_engine import (
    ATTACH,
    WORKLOAD,
    FakeStoreCluster,
    apply_all,
    make_engine,
    plan_one,
    roll_back,
    states,
)

CANARY = "c4n4ry-v4lue"
POD = {
    "containers": [
        {
            "name": "a",
            "env": [{"name": "SETTINGS", "value": CANARY}],
            "args": ["--password", CANARY],
            "envFrom": [{"secretRef": {"name": "mine"}}],
        },
        {"name": "b", "command": ["sh", "-c", f"API_TOKEN={CANARY} run"]},
    ],
    "dnsConfig": {"options": [{"name": "edns0"}]},
}
ANNOTATION = {"kubectl.kubernetes.io/last-applied-configuration": CANARY}
SPEC = {"replicas": 2, "template": {"metadata": {"annotations": ANNOTATION}, "spec": POD}}
PLAIN = {"template": {"spec": {"containers": [{"name": "a", "image": CANARY}]}}}
KEY = ("Deployment", "shop", "web")
CHANGE = (Change(target=WORKLOAD, edit=ATTACH, why=""),)


def attach() -> FakeStoreCluster:
    fake = FakeStoreCluster()
    fake.objects[KEY]["spec"] = copy.deepcopy(SPEC)
    fake.objects[KEY]["metadata"]["annotations"] = dict(ANNOTATION)
    apply_all(fake, CHANGE)
    return fake


def ledger(fake: FakeStoreCluster) -> str:
    pages = [o for o in fake.objects.values() if "-ledger-" in o["metadata"]["name"]]
    texts = [json.dumps(page) for page in pages]
    contents = [repr(entry) for entry in make_engine(fake).entries()]
    assert pages
    return "".join([*texts, *contents])


def test_the_ledger_has_nothing_of_the_workload_but_what_attach_changed() -> None:
    fake = attach()
    assert CANARY not in ledger(fake)
    assert states(fake)["attach"] == "applied"
    assert plan_one(fake, WORKLOAD).is_noop
    before = copy.deepcopy(fake.objects)
    apply_all(fake, CHANGE)
    assert fake.objects == before
    roll_back(fake, "attach")
    assert fake.objects[KEY]["spec"] == SPEC
    assert make_engine(fake).entries() == []


@pytest.mark.parametrize("write", [1, 2, 3])
@pytest.mark.parametrize("spec", [SPEC, PLAIN], ids=["with an envFrom", "without one"])
@pytest.mark.parametrize("during", ["attach", "detach"])
def test_neither_has_it_after_a_kill(during: str, spec: Any, write: int) -> None:
    fake = FakeStoreCluster()
    fake.objects[KEY]["spec"] = copy.deepcopy(spec)
    if during == "detach":
        apply_all(fake, CHANGE)
    fake.kill_at = write
    with pytest.raises(KilledError):
        apply_all(fake, CHANGE) if during == "attach" else roll_back(fake, "attach")
    fake.kill_at = 0
    if write > 1 or during == "detach":
        assert CANARY not in ledger(fake)
    roll_back(fake, "attach")
    assert fake.objects[KEY]["spec"] == spec
    assert make_engine(fake).entries() == []


def test_a_workload_that_was_deleted_is_forgotten() -> None:
    fake = attach()
    del fake.objects[KEY]
    roll_back(fake, "attach")
    assert KEY not in fake.objects
    assert make_engine(fake).entries() == []


def test_later_edits_stay() -> None:
    fake = attach()
    container: Any = fake.objects[KEY]["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "NEW", "value": "1"})
    container["envFrom"].append({"secretRef": {"name": "other"}})
    roll_back(fake, "attach")
    expected: Any = copy.deepcopy(SPEC)
    expected["template"]["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})
    expected["template"]["spec"]["containers"][0]["envFrom"].append(
        {"secretRef": {"name": "other"}}
    )
    assert fake.objects[KEY]["spec"] == expected


def test_the_difference_shows_no_secret() -> None:
    fake = FakeStoreCluster()
    fake.objects[KEY]["spec"] = copy.deepcopy(SPEC)
    (update,) = make_engine(fake).plan(CHANGE)
    text = render_diff(update)
    assert CANARY not in text
    assert "+" in text and "pypi-mirror-env" in text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("spec.template.spec.containers.a.env.SETTINGS.value", CANARY),
        ("spec.template.spec.containers.a.env.SETTINGS", {"name": "SETTINGS", "value": CANARY}),
        ("spec.template.spec.containers.a.env", [{"name": "SETTINGS", "value": CANARY}]),
        ("spec.template.spec.containers.a.args", ["--password", CANARY]),
        ("spec.template.spec.containers", POD["containers"]),
        ("spec.template.spec", POD),
        ("spec.password", CANARY),
    ],
)
def test_a_conflict_shows_no_secret(place: str, value: Any) -> None:
    text = json.dumps(value, indent=1)
    masked = mask_conflict(MergeConflict(place=place, ours=text, theirs="(absent)"))
    assert CANARY not in masked.ours
    assert masked.theirs == "(absent)"


def test_a_conflict_with_a_workload_names_the_place_without_its_secrets() -> None:
    fake = attach()
    pod: Any = fake.objects[KEY]["spec"]["template"]["spec"]
    pod["containers"][0]["envFrom"] = f"--password={CANARY}"
    with pytest.raises(RefusedError) as error:
        roll_back(fake, "attach")
    assert "containers.a.envFrom" in error.value.why
    assert CANARY not in str(error.value)


def test_trimmed_contents_undo_the_same_edit() -> None:
    before = {"a": 1, "list": [{"name": "x", "v": 1}, {"name": "y", "v": 2}], "gone": {"k": 1}}
    after = {"a": 1, "list": [{"name": "x", "v": 9}, {"name": "y", "v": 2}], "new": [1]}
    base, written = trim([encode_spec(before), encode_spec(after)]) or (None, None)
    assert base == encode_spec({"gone": {"k": 1}, "list": [{"name": "x", "v": 1}]})
    assert written == encode_spec({"new": [1], "list": [{"name": "x", "v": 9}]})
    assert contains(encode_spec(after), written or b"")
    assert not contains(encode_spec(before), written or b"")
    undone = undo_change(base, written, encode_spec({**after, "other": 3}), spec=True)
    assert undone.is_clean
    assert undone.content == encode_spec({**before, "other": 3})


def test_a_change_of_a_config_map_is_stored_whole() -> None:
    fake = FakeStoreCluster()
    apply_all(fake)
    (entry,) = make_engine(fake).entries()
    assert isinstance(entry.target, ConfigMapKey)
    assert not entry.trimmed
    assert b"forward . 9.9.9.9" in (entry.base or b"")
