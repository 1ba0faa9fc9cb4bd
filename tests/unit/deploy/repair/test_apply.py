"""The stages of `mirror fix` in their order, and what follows a failed proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from deploy.changes.fix import Refusal
from deploy.changes.model import (
    Change,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    ObjectSpec,
    Target,
)
from deploy.changes.update import TargetFailure, TargetUpdate
from deploy.cluster.client import Cluster
from deploy.evidence.collect import CollectOptions
from deploy.evidence.coredns import CoreDns
from deploy.findings.model import Finding, Severity
from deploy.fix_registry import load_fixes
from deploy.repair import apply, coredns_reload, corefile_trial
from deploy.repair.model import FixDecision, FixProofError, FixRequest, RepairPlan
from deploy.repair.prove import FixProof
from mirror.core.errors import RefusedError
from mirror.merge import MergeConflict
from mirror.snapshot import Snapshot

CLUSTER = cast("Cluster", None)
COREFILE = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
CONFLIST = NodeFile(node="ra", path="/etc/cni/net.d/10-calico.conflist")
COREDNS = CoreDns(
    namespace="kube-system", name="coredns", text=". {\n}\n", workload="Deployment/coredns"
)
PROOF = FixProof(
    failures=(),
    is_harmful=False,
    harmed_nodes=(),
    missing_nodes=(),
    outcomes=(),
    proved_nodes=("ra",),
    not_seen=(),
)
HARM = Finding(
    check="hosts.start", severity=Severity.ERROR, cause="pods do not start", nodes=("ra",)
)


class FakeUpdateEngine:
    """An engine that only records what is applied, in ``calls`` with everything else."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    @contextmanager
    def hold_lease(self) -> Iterator[None]:
        self.calls.append("lease")
        yield

    def check_permissions(self, targets: list[Target], extra: Any) -> None:
        self.calls.append("permissions")

    def apply(self, update: TargetUpdate, *, force: bool = False) -> TargetUpdate:
        self.calls.append(f"write {update.target}")
        return update

    def entries(self) -> list[LedgerEntry]:
        return [LedgerEntry(target=CONFLIST, base=b"", edits=(), written=b"x")]

    def plan_rollback(
        self, fixes: list[str], targets: Any = None, failures: Any = None
    ) -> list[TargetUpdate]:
        self.calls.append(f"roll back {' '.join(fixes)}")
        return []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was called, in order; every proof succeeds."""
    calls: list[str] = []
    monkeypatch.setattr(apply, "build_engine", lambda *_: FakeUpdateEngine(calls))
    monkeypatch.setattr(apply, "read_states", lambda *_: ())
    monkeypatch.setattr(corefile_trial, "try_corefile", lambda *_: calls.append("trial"))
    monkeypatch.setattr(coredns_reload, "require_running", lambda *_: None)
    monkeypatch.setattr(coredns_reload, "trigger_reload", lambda *_, **__: calls.append("reload"))

    def find_startup_failures(*_: Any) -> list[Finding]:
        calls.append("pods start")
        return []

    monkeypatch.setattr(apply, "find_startup_failures", find_startup_failures)
    give_proof(monkeypatch, calls)
    return calls


def give_proof(monkeypatch: pytest.MonkeyPatch, calls: list[str], **fields: Any) -> None:
    def prove(*_: Any) -> FixProof:
        calls.append("prove")
        return replace(PROOF, **fields)

    monkeypatch.setattr(apply, "prove", prove)


def make_update(target: Target, **fields: Any) -> TargetUpdate:
    snapshot = Snapshot(content=b"old", version="1")
    defaults = {"stored": None, "base": b"old", "edits": (), "after": b"new"}
    return TargetUpdate(target=target, snapshot=snapshot, **{**defaults, **fields})


def make_plan(*updates: TargetUpdate, fix: str = "dns", **fields: Any) -> RepairPlan:
    changes = tuple(Change(target=u.target, edit=Edit(fix=fix), why="") for u in updates)
    decision = FixDecision(fix=fix, summary="", impact="", changes=changes)
    return RepairPlan(decisions=(decision,), diffs=(), updates=updates, **fields)


def make_request(fix: str = "dns", *, force: bool = False) -> FixRequest:
    look = CollectOptions(namespace="pypi-mirror")
    return FixRequest(fixes=(load_fixes()[fix],), options={}, look=look, force=force)


def test_tries_a_corefile_before_writing_and_proves_it_afterwards(calls: list[str]) -> None:
    plan = make_plan(make_update(COREFILE), coredns=COREDNS)
    result = apply.apply_plan(CLUSTER, make_request(), plan)
    assert calls == ["permissions", "lease", "trial", f"write {COREFILE}", "reload", "prove"]
    assert result.written == (str(COREFILE),)
    assert result.proved_on == ("ra",)


def test_writes_a_target_that_needs_proof_after_pods_have_started(calls: list[str]) -> None:
    other = replace(CONFLIST, node="babel")
    plan = make_plan(
        make_update(CONFLIST), make_update(other), fix="ippool", needs_proof_first=(other,)
    )
    apply.apply_plan(CLUSTER, make_request("ippool"), plan)
    assert calls[-4:] == [f"write {CONFLIST}", "pods start", f"write {other}", "prove"]


def test_a_target_that_needs_the_others_waits_for_them(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """A pool stays enabled while one node still requests its addresses."""
    monkeypatch.setattr(apply, "prove", lambda *_: PROOF)
    pool = ObjectSpec(kind="IPPool", name="v6")
    failure = TargetFailure(target=CONFLIST, error=RefusedError("a symbolic link"))
    plan = make_plan(make_update(pool), fix="ippool", needs_proof_first=(pool,))
    with pytest.raises(FixProofError, match="not on 2 of its targets") as error:
        apply.apply_plan(CLUSTER, make_request("ippool"), replace(plan, failures=(failure,)))
    assert "write IPPool v6" not in calls
    assert "a symbolic link" in error.value.why
    assert "waits for the targets above" in error.value.why


def test_rolls_a_node_back_if_pods_do_not_start_there(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    monkeypatch.setattr(apply, "find_startup_failures", lambda *_: [HARM])
    plan = make_plan(make_update(CONFLIST), fix="ippool", needs_proof_first=(CONFLIST,))
    with pytest.raises(FixProofError, match="partial: ra was rolled back"):
        apply.apply_plan(CLUSTER, make_request("ippool"), plan)
    assert calls[-1] == "roll back ippool"


def test_rolls_everything_back_if_the_fix_is_harmful(
    monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    give_proof(monkeypatch, calls, failures=("no names",), is_harmful=True)
    monkeypatch.setattr(apply, "plan_rollback", lambda *_: make_plan())
    monkeypatch.setattr(apply, "roll_back", lambda *_, **__: calls.append("roll back"))
    with pytest.raises(FixProofError, match="harmed pods and was rolled back"):
        apply.apply_plan(CLUSTER, make_request(), make_plan(make_update(COREFILE)))
    assert calls[-1] == "roll back"


@pytest.mark.parametrize(
    ("proof", "message"),
    [
        ({"failures": ("not on ra",), "missing_nodes": ("ra",)}, "is applied, but not on ra"),
        ({"failures": ("no effect",)}, "does not have the expected effect"),
    ],
)
def test_reports_a_failed_proof(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], proof: dict[str, Any], message: str
) -> None:
    give_proof(monkeypatch, calls, **proof)
    with pytest.raises(FixProofError, match=message):
        apply.apply_plan(CLUSTER, make_request(), make_plan(make_update(COREFILE)))


def test_writes_nothing_for_a_harmful_fix_or_a_conflict(calls: list[str]) -> None:
    refused = FixDecision(fix="dns", summary="", impact="", refusal=Refusal(reason="it would harm"))
    with pytest.raises(RefusedError, match="it would harm"):
        apply.apply_plan(CLUSTER, make_request(), replace(make_plan(), decisions=(refused,)))
    conflict = MergeConflict(place="line 1", ours="a", theirs="b")
    plan = make_plan(make_update(COREFILE, conflicts=(conflict,)))
    with pytest.raises(RefusedError, match="was edited where"):
        apply.apply_plan(CLUSTER, make_request(), plan)
    assert calls == []
    apply.apply_plan(CLUSTER, make_request(force=True), plan)
    assert f"write {COREFILE}" in calls
