"""The recipe's own checks, for example that a model loads: programs that must exit with 0."""

from __future__ import annotations

from images.proof import ProofResult, ProofSubject, describe_unexpected
from images.sandbox import NetworkAttempt

ORDER = 4


def check(subject: ProofSubject) -> ProofResult:
    faults: list[str] = []
    attempts: list[NetworkAttempt] = []
    last_lines: list[str] = []
    for argv in subject.recipe.checks:
        with subject.open_network() as sandbox:
            with subject.run_program(sandbox, argv) as container:
                code = subject.wait_for_exit(container, argv[0])
                log = container.read_log().strip().splitlines()
            tried = sandbox.attempts()
        if code != 0:
            faults.append(f"{' '.join(argv)[:80]} ended with {code}: " + "\n".join(log[-5:]))
        faults += describe_unexpected(tried, subject.recipe.expected_hosts)
        attempts += tried
        last_lines += log[-1:]
    return ProofResult(
        check="checks",
        summary="; ".join(last_lines)[:200] or "the recipe has none",
        faults=tuple(faults),
        attempts=tuple(attempts),
    )
