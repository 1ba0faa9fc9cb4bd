"""The JSON keys of `mirror fix`, `rollback`, `attach` and `status -o json`, which scripts read."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.changes.fix import Refusal
from deploy.changes.state import FixState
from deploy.evidence.fixes import TargetStatus
from deploy.repair.model import ProgramOutcome, RepairResult, TargetDiff
from deploy.repair.reconciler import ReconcilerStatus
from deploy.repair.restart import StalePod, StaleWorkload
from mirror.core.codec import dump


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (FixState(fix="dns", state="absent"), "fix state at by targets again"),
        (TargetStatus(target="x", state="drifted"), "target state detail"),
        (TargetDiff(target="x", text="", why=()), "target text why kept drops"),
        (Refusal(reason="x"), "reason objects next_step needless"),
        (ReconcilerStatus(kept=(), not_kept=(), running=True), "keeps leaves running reports"),
        (StalePod(name="x", node="ra"), "name node addresses"),
        (
            StaleWorkload(kind="Pod", namespace="x", name="x"),
            "kind namespace name pods restarts why_not",
        ),
        (
            ProgramOutcome(node="", name="", program="", libc="", before="", after=""),
            "node name program libc before after",
        ),
        (
            RepairResult(written=(), states=()),
            "written states outcomes proved_on not_seen restarted running",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys(value: Any, keys: str) -> None:
    assert list(dump(value)) == keys.split()
