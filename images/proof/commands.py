"""The recipe's own checks, such as a model that loads: each a program that must end with 0."""

from __future__ import annotations

from images.proof import ProofResult, ProofSubject, describe_unexpected
from images.sandbox import NetworkAttempt

ORDER = 4


def check(subject: ProofSubject) -> ProofResult:
    faults: list[str] = []
    tried: list[NetworkAttempt] = []
    said: list[str] = []
    for argv in subject.recipe.checks:
        with subject.open_network() as watched:
            with subject.run_program(watched, argv) as running:
                code = subject.wait_for_exit(running, argv[0])
                log = running.read_log().strip().splitlines()
            seen = watched.attempts()
        if code != 0:
            faults.append(f"{' '.join(argv)[:80]} ended with {code}: " + "\n".join(log[-5:]))
        faults += describe_unexpected(seen, subject.recipe.expected_hosts)
        tried += seen
        said += log[-1:]
    return ProofResult(
        check="checks",
        said="; ".join(said)[:200] or "none in the recipe",
        faults=tuple(faults),
        tried=tuple(tried),
    )
