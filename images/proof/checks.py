"""The recipe's own checks, for example that a model loads: programs that must exit with 0."""

from __future__ import annotations

from images.advice import Advice
from images.proof import (
    ProofResult,
    ProofSubject,
    advise_on_unexpected,
    describe_unexpected,
)
from images.sandbox import NetworkAttempt

ORDER = 4


def check(subject: ProofSubject) -> ProofResult:
    faults: list[str] = []
    attempts: list[NetworkAttempt] = []
    advice: list[Advice] = []
    last_lines: list[str] = []
    for argv in subject.recipe.checks:
        run, tried = subject.run_in_sandbox(argv, argv[0])
        lines = run.output.strip().splitlines()
        if run.exit_code != 0:
            command = " ".join(argv)[:80]
            faults.append(f"{command} ended with {run.exit_code}: " + "\n".join(lines[-5:]))
        faults += describe_unexpected(tried, subject.recipe.expected_hosts)
        advice += advise_on_unexpected(tried, subject.recipe.expected_hosts)
        attempts += tried
        last_lines += lines[-1:]
    return ProofResult(
        summary="; ".join(last_lines)[:200],
        faults=tuple(faults),
        attempts=tuple(attempts),
        advice=tuple(advice),
    )
