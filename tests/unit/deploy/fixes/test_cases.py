"""What each fix decides: tests/unit/cases/fixes/<fix>/<case>/.

case.json holds the evidence (a case of cases/checks, with CoreDNS as it is here), the options, and
what is in the ledger already; expected.json what is decided, after.txt the text that is written.
With MIRROR_WRITE_CASES=1 the expectations are written anew, to be read before they are kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import deploy.fixes
from deploy.changes.coredns_target import read_target_text
from deploy.changes.fix import Fix, Refusal
from deploy.changes.model import Change, ConfigMapKey, Edit
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.extensions import load_extensions
from mirror.core.codec import load
from mirror.core.errors import InputError

ROOT = Path(__file__).parents[2] / "cases"
FIXES: dict[str, Fix] = {
    part.__name__.rpartition(".")[2]: part.FIX for part in load_extensions(deploy.fixes)
}
CASES = [
    case
    for case in sorted((ROOT / "fixes").glob("*/*/case.json"))
    if case.parents[1].name in {"dns", "search_domains"}
]
TARGET = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")


def evidence(told: dict[str, Any]) -> Evidence:
    saved = json.loads((ROOT / "checks" / told["evidence"] / "evidence.json").read_text())
    core = told["coredns"]
    seen: CoreDns | Unseen | None = None
    if core:
        seen = load(Unseen, core) if "reason" in core else load(CoreDns, core)
    return replace(load(Evidence, saved), coredns=seen)


def decide(fix: Fix, told: dict[str, Any]) -> tuple[Any, bytes | None]:
    """What is decided, as JSON, and the text that would be written."""
    seen = evidence(told)
    held = tuple(
        Change(target=TARGET, edit=Edit(fix=fix.name, options=one), why="") for one in told["held"]
    )
    try:
        made = fix.plan_changes(seen, told["options"], held)
    except InputError as wrong:
        return {"error": wrong.what}, None
    if isinstance(made, Refusal):
        shown = {"needless": made.needless, "reason": made.reason, "next": made.next_step}
        return {"refused": shown, "objects": list(made.objects)}, None
    (change,) = made
    core = seen.coredns
    assert isinstance(core, CoreDns)
    assert isinstance(change.target, ConfigMapKey)
    after = fix.edit(change.edit, change.target, read_target_text(core, change.target))
    expects = [f"{one.qtype} {one.name}: {one.answer}" for one in fix.expected_answers(made, seen)]
    return {"target": str(change.target), "why": change.why, "expects": expects}, after


@pytest.mark.parametrize("case", CASES, ids=lambda case: "/".join(case.parts[-3:-1]))
def test_what_is_decided(case: Path) -> None:
    fix = FIXES[case.parents[1].name]
    told, after = decide(fix, json.loads(case.read_text()))
    expected, text = case.with_name("expected.json"), case.with_name("after.txt")
    if os.environ.get("MIRROR_WRITE_CASES"):
        expected.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        if after is not None:
            text.write_bytes(after)
    assert told == json.loads(expected.read_text())
    assert after == (text.read_bytes() if text.exists() else None)


def test_every_fix_has_cases() -> None:
    assert {case.parents[1].name for case in CASES} == {"dns", "search_domains"}
