"""`uv pip check`: the installed distributions are compatible, and uv works without a network."""

from __future__ import annotations

from images.engine.containers import run_to_end
from images.proof import ProofResult, ProofSubject

ORDER = 2


def check(subject: ProofSubject) -> ProofResult:
    spec = subject.describe_program(("uv", "pip", "check"))
    run = run_to_end(subject.engine, spec, "uv pip check")
    faults: list[str] = []
    if run.exit_code != 0:
        lines = run.output.strip().splitlines()
        faults = [line for line in lines if line and not line.startswith("Using")][:20]
        faults = faults or [f"uv pip check ended with {run.exit_code}"]
    return ProofResult(summary="uv pip check", faults=tuple(faults))
