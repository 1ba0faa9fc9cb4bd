"""Every start command, unchanged, serves its health path or waits for a service it needs."""

from __future__ import annotations

import time

from images.application_recipe import StartCommand
from images.engine.containers import EngineContainer, run_container
from images.proof import ProofResult, ProofSubject, describe_unexpected
from images.sandbox import NetworkAttempt, Sandbox, open_sandbox
from mirror.core.errors import WaitTimeout
from mirror.core.wait import wait_until

ORDER = 5
_REQUEST = (
    "import sys,urllib.request as r;o=r.build_opener(r.ProxyHandler({}));"
    "sys.exit(o.open(sys.argv[1],timeout=3).status!=200)"
)


def check(subject: ProofSubject) -> ProofResult:
    faults: list[str] = []
    attempts: list[NetworkAttempt] = []
    summaries: list[str] = []
    for number, start in enumerate(subject.recipe.starts):
        subject.progress.count(number, len(subject.recipe.starts), start.name)
        with open_sandbox(subject.engine, subject.image) as sandbox:
            spec = subject.describe_program(start.argv, sandbox=sandbox, **start.environment)
            with run_container(subject.engine, spec) as container:
                fault, summary = _watch_start(subject, start, sandbox, container)
            tried = sandbox.attempts()
        allowed = (*subject.recipe.expected_hosts, *start.services)
        faults += [f"{start.name}: {line}" for line in describe_unexpected(tried, allowed)]
        if fault:
            faults.append(f"{start.name}: {fault}")
        attempts += tried
        summaries.append(f"{start.name} {summary}")
    return ProofResult(
        summary=", ".join(summaries) or "the recipe has no start command: nothing was started",
        faults=tuple(faults),
        attempts=tuple(attempts),
    )


def _watch_start(
    subject: ProofSubject, start: StartCommand, sandbox: Sandbox, container: EngineContainer
) -> tuple[str, str]:
    """Wait until a command has passed or failed; return its fault ("" if none) and a summary."""
    url = f"http://127.0.0.1:{start.port}{start.health}"
    started = time.monotonic()

    def find_outcome() -> tuple[str, str] | None:
        code = container.exit_code()
        after = f"after {time.monotonic() - started:.1f} s"
        hosts = {attempt.host for attempt in sandbox.attempts()} if start.services else set()
        if start.health and sandbox.monitor.run(("python3", "-c", _REQUEST, url)) == 0:
            return "", f"serves {start.health} {after}"
        if awaited := sorted(hosts & set(start.services)):
            return "", f"waits for {', '.join(awaited)} {after}"
        if code is None:
            return None
        has_passed = code == 0 and not start.health and not start.services
        fault = "" if has_passed else f"ended with {code}:\n{_log_tail(container)}"
        return fault, f"ended with {code}"

    try:
        deadline = subject.engine.deadline.within(start.seconds)
        return wait_until(
            find_outcome, deadline=deadline, what=start.name, interval=0.1, max_interval=0.5
        )
    except WaitTimeout:
        if not start.health and not start.services:
            return "", f"runs for {start.seconds:.0f} s"
        goal = start.health or " or ".join(start.services)
        fault = f"neither ended nor reached {goal} in {start.seconds:.0f} s"
        return f"{fault}:\n{_log_tail(container)}", "hangs"


def _log_tail(container: EngineContainer) -> str:
    return "\n".join(container.read_log().strip().splitlines()[-12:])
