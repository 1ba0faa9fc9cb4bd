"""The ledger keeps only the inverse of an attachment, and shows no secret of a workload."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.changes.masked import mask_conflict
from deploy.changes.model import ConfigMapKey
from deploy.changes.state import read_states
from deploy.changes.trim import contains, trim
from deploy.changes.update import render_diff
from mirror.core.errors import RefusedError
from mirror.merge import MergeConflict, encode_spec, undo_change
from tests.fix_targets import (
    CHANGES,
    FixTargets,
    apply_fixes,
    roll_back_fixes,
)
from tests.kubernetes_api import KilledError, MemoryApi

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
SELECTOR = {"matchLabels": {"app": "web"}}
LABELS = {"app": "web"}
SPEC = {
    "replicas": 2,
    "selector": SELECTOR,
    "template": {"metadata": {"labels": LABELS, "annotations": ANNOTATION}, "spec": POD},
}
PLAIN = {
    "selector": SELECTOR,
    "template": {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "a", "image": CANARY}]},
    },
}


def seed_workload(api: MemoryApi, spec: Any = SPEC) -> Any:
    """Store the workload and return its spec with the defaults."""
    metadata = {"name": "web", "namespace": "default", "annotations": ANNOTATION}
    api.remove("Deployment", "web", "default")
    return api.seed({"kind": "Deployment", "metadata": metadata, "spec": spec})["spec"]


def read_spec(api: MemoryApi) -> Any:
    return api.read("Deployment", "web", "default")["spec"]


def dump_ledger(api: MemoryApi, targets: FixTargets) -> str:
    pages = [obj for obj in api.list_objects("ConfigMap") if "-ledger-" in obj["metadata"]["name"]]
    texts = [json.dumps(page) for page in pages]
    contents = [repr(entry) for entry in targets.make_engine().entries()]
    assert pages
    return "".join([*texts, *contents])


def test_the_ledger_has_nothing_of_the_workload_but_what_attach_changed(
    api: MemoryApi, targets: FixTargets
) -> None:
    spec = seed_workload(api)
    apply_fixes(targets, "attach")
    assert CANARY not in dump_ledger(api, targets)
    (state,) = read_states(targets.make_engine(), ["attach"])
    assert state.state == "applied"
    before = api.dump()
    (update,) = targets.make_engine().plan(CHANGES["attach"])
    assert update.is_noop
    assert api.dump() == before
    roll_back_fixes(targets, "attach")
    assert read_spec(api) == spec
    assert targets.make_engine().entries() == []


@pytest.mark.parametrize("write", [2, 3, 4])  # the first and the last are of the Lease
@pytest.mark.parametrize("spec", [SPEC, PLAIN], ids=["with an envFrom", "without one"])
@pytest.mark.parametrize("during", ["attach", "detach"])
def test_neither_has_it_after_a_kill(
    api: MemoryApi,
    targets: FixTargets,
    restart: Callable[[], None],
    during: str,
    spec: Any,
    write: int,
) -> None:
    stored = seed_workload(api, spec)
    operation = apply_fixes if during == "attach" else roll_back_fixes
    if during == "detach":
        apply_fixes(targets, "attach")
    api.failures.kill_at_write(write)
    with pytest.raises(KilledError):
        operation(targets, "attach")
    restart()
    if write > 2 or during == "detach":
        assert CANARY not in dump_ledger(api, targets)
    roll_back_fixes(targets, "attach")
    assert read_spec(api) == stored
    assert targets.make_engine().entries() == []


def test_a_workload_that_was_deleted_is_forgotten(api: MemoryApi, targets: FixTargets) -> None:
    seed_workload(api)
    apply_fixes(targets, "attach")
    api.remove("Deployment", "web", "default")
    roll_back_fixes(targets, "attach")
    assert not api.has("Deployment", "web", "default")
    assert targets.make_engine().entries() == []


def test_later_edits_stay(api: MemoryApi, targets: FixTargets) -> None:
    expected = seed_workload(api)
    apply_fixes(targets, "attach")
    new = {"name": "NEW", "value": "1"}
    other = {"secretRef": {"name": "other"}}

    def edit(deployment: Any) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["env"].append(new)
        container["envFrom"].append(other)

    api.edit("Deployment", "web", "default", edit)
    roll_back_fixes(targets, "attach")
    container = expected["template"]["spec"]["containers"][0]
    container["env"].append(new)
    container["envFrom"].append(other)
    assert read_spec(api) == expected


def test_the_difference_shows_no_secret(api: MemoryApi, targets: FixTargets) -> None:
    seed_workload(api)
    (update,) = targets.make_engine().plan(CHANGES["attach"])
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


@pytest.mark.parametrize(
    ("place", "text", "expected"),
    [
        ("spec.args", '"--token"\n"t0ps3cret"\n"run"\n', ["--token", "***", "run"]),
        ("spec.args", '"run"\n\n"now"\n', ["run", "now"]),
        ("spec.command", '"serve"\n', ["serve"]),
        ("spec.args", "not JSON\n", None),
        ("spec.args", "(absent)", None),
    ],
)
def test_a_conflict_in_a_list_shows_its_items(
    place: str, text: str, expected: list[str] | None
) -> None:
    """A list without names is merged as one item a line."""
    shown = mask_conflict(MergeConflict(place=place, ours=text, theirs="(absent)")).ours
    if expected is None:
        assert shown == ("(absent)" if text == "(absent)" else "***")
    else:
        items = json.loads(shown)
        assert items == (expected if len(expected) > 1 else expected[0])


def test_a_conflict_with_a_workload_names_the_place_without_its_secrets(
    api: MemoryApi, targets: FixTargets
) -> None:
    seed_workload(api)
    apply_fixes(targets, "attach")

    def edit(deployment: Any) -> None:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["envFrom"] = f"--password={CANARY}"

    api.edit("Deployment", "web", "default", edit)
    with pytest.raises(RefusedError) as error:
        roll_back_fixes(targets, "attach")
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


def test_a_change_of_a_config_map_is_stored_whole(targets: FixTargets) -> None:
    apply_fixes(targets, "dns")
    (entry,) = targets.make_engine().entries()
    assert isinstance(entry.target, ConfigMapKey)
    assert not entry.trimmed
    assert b"forward . /etc/resolv.conf" in (entry.base or b"")
