"""Each start command, unchanged: it serves its health path or waits for a known service."""

from __future__ import annotations

import time

from images.application_recipe import StartCommand
from images.engine.containers import EngineContainer
from images.proof import ProofResult, ProofSubject, describe_unexpected
from images.sandbox import NetworkAttempt, Sandbox
from mirror.core.errors import WaitTimeout
from mirror.core.wait import wait_until

ORDER = 5
_ASK = (
    "import sys,urllib.request as r;o=r.build_opener(r.ProxyHandler({}));"
    "sys.exit(o.open(sys.argv[1],timeout=3).status!=200)"
)


def check(subject: ProofSubject) -> ProofResult:
    faults: list[str] = []
    tried: list[NetworkAttempt] = []
    said: list[str] = []
    for number, start in enumerate(subject.recipe.starts):
        subject.progress.count(number, len(subject.recipe.starts), start.name)
        with subject.open_network() as watched:
            with subject.run_program(watched, start.argv, **start.environment) as running:
                fault, word = _outcome(subject, start, watched, running)
            seen = watched.attempts()
        allowed = (*subject.recipe.expected_hosts, *start.services)
        outside = describe_unexpected(seen, allowed)
        faults += [f"{start.name}: {line}" for line in outside]
        if fault:
            faults.append(f"{start.name}: {fault}")
        tried += seen
        said.append(f"{start.name} {word}")
    words = ", ".join(said) or "no start command is known: nothing was started"
    return ProofResult(check="starts", said=words, faults=tuple(faults), tried=tuple(tried))


def _outcome(
    subject: ProofSubject, start: StartCommand, watched: Sandbox, running: EngineContainer
) -> tuple[str, str]:
    """The fault ("" where there is none) and a word on how it went."""
    url = f"http://127.0.0.1:{start.port}{start.health}"
    since = time.monotonic()
    result: list[tuple[str, str]] = []

    def look() -> bool:
        code = running.exit_code()
        took = f"{time.monotonic() - since:.1f} s"
        asked = (
            {one.host for one in watched.attempts()} & set(start.services) if start.services else ()
        )
        if start.health and watched.monitor.run(("python3", "-c", _ASK, url)).exit_code == 0:
            result.append(("", f"serves {start.health} after {took}"))
        elif asked:
            result.append(("", f"waits for {', '.join(sorted(asked))} after {took}"))
        elif code is not None:
            end = "\n".join(running.read_log().strip().splitlines()[-12:])
            fine = code == 0 and not start.health and not start.services
            result.append(("" if fine else f"ended with {code}:\n{end}", f"ended with {code}"))
        return bool(result)

    try:
        deadline = subject.deadline.within(start.seconds)
        wait_until(look, deadline=deadline, what=start.name, interval=0.1, max_interval=0.5)
    except WaitTimeout:
        if not start.health and not start.services:
            return "", f"lives for {start.seconds:.0f} s"
        end = "\n".join(running.read_log().strip().splitlines()[-12:])
        wanted = start.health or " or ".join(start.services)
        return f"neither ended nor reached {wanted} in {start.seconds:.0f} s:\n{end}", "hangs"
    return result[0]
