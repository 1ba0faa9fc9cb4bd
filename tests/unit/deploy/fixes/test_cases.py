"""What each fix decides: tests/unit/cases/fixes/<fix>/<case>/.

case.json has the evidence (a case of cases/checks, with the CoreDNS given here), the options, and
what is in the ledger already; expected.json has the decision, after.txt the text that is written.
MIRROR_WRITE_CASES=1 writes the expectations again, to be read before they are committed.
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
    module.__name__.rpartition(".")[2]: module.FIX for module in load_extensions(deploy.fixes)
}
CASES = [
    path
    for path in sorted((ROOT / "fixes").glob("*/*/case.json"))
    if path.parents[1].name in {"dns", "search_domains"}
]
TARGET = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")


def load_evidence(case: dict[str, Any]) -> Evidence:
    path = ROOT / "checks" / case["evidence"] / "evidence.json"
    fields = case["coredns"]
    coredns: CoreDns | Unseen | None = None
    if fields:
        coredns = load(Unseen, fields) if "reason" in fields else load(CoreDns, fields)
    return replace(load(Evidence, json.loads(path.read_text())), coredns=coredns)


def decide(fix: Fix, case: dict[str, Any]) -> tuple[Any, bytes | None]:
    """Return the decision as JSON, and the text that would be written."""
    evidence = load_evidence(case)
    applied = tuple(
        Change(target=TARGET, edit=Edit(fix=fix.name, options=options), why="")
        for options in case["held"]
    )
    try:
        result = fix.plan_changes(evidence, case["options"], applied)
    except InputError as error:
        return {"error": error.what}, None
    if isinstance(result, Refusal):
        shown = {"needless": result.needless, "reason": result.reason, "next": result.next_step}
        return {"refused": shown, "objects": list(result.objects)}, None
    (change,) = result
    coredns = evidence.coredns
    assert isinstance(coredns, CoreDns)
    assert isinstance(change.target, ConfigMapKey)
    after = fix.edit(change.edit, change.target, read_target_text(coredns, change.target))
    expects = [
        f"{answer.qtype} {answer.name}: {answer.answer}"
        for answer in fix.expected_answers(result, evidence)
    ]
    return {"target": str(change.target), "why": change.why, "expects": expects}, after


@pytest.mark.parametrize("path", CASES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_decides_as_expected(path: Path) -> None:
    decision, after = decide(FIXES[path.parents[1].name], json.loads(path.read_text()))
    expected, text = path.with_name("expected.json"), path.with_name("after.txt")
    if os.environ.get("MIRROR_WRITE_CASES"):
        expected.write_text(json.dumps(decision, indent=1, ensure_ascii=False) + "\n")
        if after is not None:
            text.write_bytes(after)
    assert decision == json.loads(expected.read_text())
    assert after == (text.read_bytes() if text.exists() else None)


def test_every_fix_has_cases() -> None:
    assert {path.parents[1].name for path in CASES} == {"dns", "search_domains"}
