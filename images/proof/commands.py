"""The recipe's own checks, such as a model that loads: each a program that must end with 0."""

from __future__ import annotations

from images.jail import Attempt
from images.proof import Outcome, Subject, unexpected

ORDER = 4


def check(subject: Subject) -> Outcome:
    faults: list[str] = []
    tried: list[Attempt] = []
    said: list[str] = []
    for argv in subject.recipe.checks:
        with subject.network() as watched:
            with subject.started(watched, argv) as running:
                code = subject.ended(running, argv[0])
                log = running.log().strip().splitlines()
            seen = watched.tried()
        if code != 0:
            faults.append(f"{' '.join(argv)[:80]} ended with {code}: " + "\n".join(log[-5:]))
        faults += unexpected(seen, subject.recipe.expected_hosts)
        tried += seen
        said += log[-1:]
    return Outcome(
        check="checks",
        said="; ".join(said)[:200] or "none in the recipe",
        faults=tuple(faults),
        tried=tuple(tried),
    )
