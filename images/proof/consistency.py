"""`uv pip check`: the installed distributions are compatible, and uv works without a network."""

from __future__ import annotations

from images.proof import ProofResult, ProofSubject

ORDER = 2


def check(subject: ProofSubject) -> ProofResult:
    run = subject.run_to_end(("uv", "pip", "check"), "uv pip check")
    lines = run.output.strip().splitlines()
    problems = [line for line in lines if line and not line.startswith("Using")][:20]
    faults = problems or [f"uv pip check ended with {run.exit_code}"]
    if run.exit_code == 0:
        faults = []
    return ProofResult(check="consistency", summary="uv pip check", faults=tuple(faults))
