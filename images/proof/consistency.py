"""`uv pip check`: the installed distributions are compatible, and uv works without a network."""

from __future__ import annotations

from images.proof import ProofResult, ProofSubject

ORDER = 2


def check(subject: ProofSubject) -> ProofResult:
    with subject.run_program(None, ("uv", "pip", "check")) as container:
        code = subject.wait_for_exit(container, "uv pip check")
        log = container.read_log()
    lines = [line for line in log.strip().splitlines() if line and not line.startswith("Using")]
    faults = () if code == 0 else tuple(lines[:20]) or (f"uv pip check ended with {code}",)
    return ProofResult(check="consistency", summary="uv pip check", faults=faults)
