"""`uv pip check`: what is installed fits together, and the image's uv works with no network."""

from __future__ import annotations

from images.proof import Outcome, Subject

ORDER = 2


def check(subject: Subject) -> Outcome:
    with subject.started(None, ("uv", "pip", "check")) as running:
        code = subject.ended(running, "uv pip check")
        log = running.log()
    lines = [line for line in log.strip().splitlines() if line and not line.startswith("Using")]
    faults = () if code == 0 else tuple(lines[:20]) or (f"uv pip check ended with {code}",)
    return Outcome(check="consistency", said="uv pip check", faults=faults)
