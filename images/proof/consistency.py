"""`uv pip check`: what is installed fits together, and the image's uv works with no network."""

from __future__ import annotations

from images.proof import ProofResult, ProofSubject

ORDER = 2


def check(subject: ProofSubject) -> ProofResult:
    with subject.run_program(None, ("uv", "pip", "check")) as running:
        code = subject.wait_for_exit(running, "uv pip check")
        log = running.read_log()
    lines = [line for line in log.strip().splitlines() if line and not line.startswith("Using")]
    faults = () if code == 0 else tuple(lines[:20]) or (f"uv pip check ended with {code}",)
    return ProofResult(check="consistency", said="uv pip check", faults=faults)
