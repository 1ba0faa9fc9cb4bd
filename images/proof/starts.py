"""Every start command, unchanged, serves its port, or gets as far as a service it needs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from images.advice import Advice, advise_on_failure, assign_argv, assign_list, is_service
from images.application_recipe import StartCommand
from images.engine.containers import EngineContainer, run_container
from images.failure import Cause, Failure, explain_end, is_allowed
from images.proof import (
    Outcome,
    ProofResult,
    ProofSubject,
    SubjectOutcome,
    advise_on_unexpected,
    describe_unexpected,
)
from images.sandbox import NetworkAttempt, Sandbox, open_sandbox
from mirror.core.errors import EngineError, WaitTimeout
from mirror.core.wait import wait_until

ORDER = 5
_SETTLE = 10.0  # after it asked for a service, a start has this long to serve or to end
_STAY = 2.0  # a server must still answer after this long
_PARALLEL = 3
_LOG_LINES = 12
_WEB = "web"  # the process type of a Procfile that gets HTTP requests
# exits with 0 if the port (argv 1) answers, and its health path (argv 2) if there is one
_REQUEST = """\
import socket, sys, urllib.request as r
port, path = int(sys.argv[1]), sys.argv[2]
if path:
    url = "http://127.0.0.1:%d%s" % (port, path)
    sys.exit(r.build_opener(r.ProxyHandler({})).open(url, timeout=3).status != 200)
socket.create_connection(("127.0.0.1", port), timeout=3).close()
"""
# prints "PORT" or "PORT loopback" for each TCP port that something listens on
_LISTENERS = """\
for name, local in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
    try:
        lines = open("/proc/net/" + name).read().splitlines()[1:]
    except OSError:
        continue
    for columns in map(str.split, lines):
        address, _, port = columns[1].rpartition(":")
        if columns[3] == "0A":
            print(int(port, 16), "loopback" if address == local else "")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartResult:
    """What became of a start command."""

    outcome: SubjectOutcome
    attempts: tuple[NetworkAttempt, ...]
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()


@dataclass
class _Watch:
    """What is known of a start command while it runs."""

    subject: ProofSubject
    start: StartCommand
    sandbox: Sandbox
    container: EngineContainer
    began: float = field(default_factory=time.monotonic)
    asked_at: float = 0.0  # when it first asked for a declared service

    @property
    def must_listen(self) -> bool:
        return bool(self.start.port) or self.start.name == _WEB

    @property
    def allowed(self) -> tuple[str, ...]:
        return (*self.subject.recipe.expected_hosts, *self.start.services)

    @property
    def after(self) -> str:
        return f"after {time.monotonic() - self.began:.1f} s"

    def list_asked(self, patterns: Sequence[str]) -> list[str]:
        """Return the hosts it has asked for that a pattern allows."""
        hosts = {attempt.host for attempt in self.sandbox.attempts()}
        return sorted(host for host in hosts if is_allowed(host, patterns))

    def answers(self, port: int) -> bool:
        request = ("python3", "-c", _REQUEST, str(port), self.start.health)
        return self.sandbox.monitor.run(request) == 0

    def list_listeners(self) -> dict[int, bool]:
        """Return the TCP ports that it listens on, and whether only on loopback."""
        ports: dict[int, bool] = {}
        for line in self.sandbox.monitor.read_output(("python3", "-c", _LISTENERS)).splitlines():
            number, _, place = line.partition(" ")
            ports[int(number)] = place == "loopback" and ports.get(int(number), True)
        return ports


def check(subject: ProofSubject) -> ProofResult:
    starts = subject.recipe.starts
    if not starts:
        missing = "the recipe has no start command: nothing was started"
        return ProofResult(summary=missing, faults=(), warnings=(missing,))
    with ThreadPoolExecutor(min(_PARALLEL, len(starts))) as executor:  # starts mostly wait
        subject.progress.count(0, len(starts), ", ".join(start.name for start in starts))
        results = list(executor.map(lambda start: _run_start(subject, start), starts))
    return ProofResult(
        summary=", ".join(f"{result.outcome.name} {result.outcome.detail}" for result in results),
        faults=tuple(f"{r.outcome.name}: {fault}" for r in results for fault in r.faults),
        warnings=tuple(f"{r.outcome.name}: {text}" for r in results for text in r.warnings),
        outcomes=tuple(result.outcome for result in results),
        attempts=tuple(attempt for result in results for attempt in result.attempts),
        advice=tuple(advice for result in results for advice in result.advice),
    )


def _run_start(subject: ProofSubject, start: StartCommand) -> StartResult:
    with open_sandbox(subject.engine, subject.image) as sandbox:
        spec = subject.describe_program(start.argv, sandbox=sandbox, **start.environment)
        try:
            with run_container(subject.engine, spec) as container:
                watch = _Watch(subject, start, sandbox, container)
                result = _watch_start(watch)
                attempts = sandbox.attempts()
        except EngineError as error:
            if failed := judge_start_error(start, error.why):
                return failed
            raise
    unexpected = describe_unexpected(attempts, watch.allowed)
    outcome = result.outcome
    if unexpected and outcome.outcome is not Outcome.FAILED:
        outcome = SubjectOutcome(
            name=start.name,
            outcome=Outcome.FAILED,
            detail=f"{outcome.detail}, but calls hosts that are not expected",
            asked_for=outcome.asked_for,
        )
    # a host that was not expected is the better explanation of an end without a known cause
    advice = advise_on_unexpected(attempts, watch.allowed, start.name) or result.advice
    return StartResult(
        outcome=outcome,
        attempts=attempts,
        faults=(*result.faults, *unexpected),
        warnings=result.warnings,
        advice=advice,
    )


def judge_start_error(start: StartCommand, why: str) -> StartResult | None:
    """Return the result of a command that the engine could not start, None for another error."""
    program = start.argv[0]
    reasons = {
        r"executable file not found|stat .*no such file|exec.*no such file": "is not in the image",
        r"permission denied": "is not executable",
        r"exec format error": "has no #! line, and is no program for this machine",
        r"is a directory": "is a folder",
    }
    found = (text for pattern, text in reasons.items() if re.search(pattern, why, re.IGNORECASE))
    reason = next(found, "")
    if not reason:
        return None
    detail = f"cannot be started: {program} {reason}"
    name = PurePosixPath(program).name
    return StartResult(
        outcome=SubjectOutcome(name=start.name, outcome=Outcome.FAILED, detail=detail),
        attempts=(),
        faults=(detail,),
        advice=(
            Advice(
                text=f"{start.name}: name a program that the lock or a Debian package "
                f"(run_packages) brings, with its arguments; if {name} is one, without its folder",
                changes=(assign_argv(start.name, [name, *start.argv[1:]]),)
                if program != name
                else (),
            ),
        ),
    )


def _watch_start(watch: _Watch) -> StartResult:
    """Wait until a command has passed or failed."""
    start = watch.start
    deadline = watch.subject.engine.deadline.within(start.seconds)

    def find_result() -> StartResult | None:
        code = watch.container.exit_code()
        if start.port and watch.answers(start.port):
            return _confirm_serving(watch, start.port)
        if code is not None:
            return _judge_end(watch, code)
        asked = watch.list_asked(start.services) if start.services else []
        if asked and not watch.asked_at:
            watch.asked_at = time.monotonic()
        if asked and time.monotonic() - watch.asked_at >= _SETTLE:
            return _pass(watch, Outcome.WAITING, f"waits for {', '.join(asked)} {watch.after}")
        if not start.port:
            # what listens on loopback alone is a helper of its own
            ports = [
                port for port, is_loopback in watch.list_listeners().items() if not is_loopback
            ]
            if ports:
                return _confirm_serving(watch, min(ports))
        return None

    try:
        return wait_until(
            find_result, deadline=deadline, what=start.name, interval=0.1, max_interval=0.5
        )
    except WaitTimeout:
        return _judge_timeout(watch)


def _pass(
    watch: _Watch, outcome: Outcome, detail: str, warnings: tuple[str, ...] = ()
) -> StartResult:
    asked = tuple(watch.list_asked(watch.allowed))
    return StartResult(
        outcome=SubjectOutcome(
            name=watch.start.name, outcome=outcome, detail=detail, asked_for=asked
        ),
        attempts=(),
        warnings=warnings,
    )


def _fail(watch: _Watch, detail: str, fault: str, advice: Advice) -> StartResult:
    asked = tuple(watch.list_asked(watch.allowed))
    return StartResult(
        outcome=SubjectOutcome(
            name=watch.start.name, outcome=Outcome.FAILED, detail=detail, asked_for=asked
        ),
        attempts=(),
        faults=(f"{fault}:\n{_log_tail(watch)}",),
        advice=(advice,),
    )


def _confirm_serving(watch: _Watch, port: int) -> StartResult:
    """Return whether a server that has answered still does a moment later."""
    detail = f"serves {watch.start.health or f'port {port}'} {watch.after}"
    stay = watch.subject.engine.deadline.within(_STAY)
    wait_until(
        lambda: stay.expired or watch.container.exit_code() is not None, deadline=stay, what=""
    )
    code = watch.container.exit_code()
    if code is not None:
        return _judge_end(watch, code, f"listened on port {port}, and then ended with {code}")
    ports = watch.list_listeners()
    if port not in ports:
        return _fail(
            watch,
            "does not stay",
            f"listened on port {port}, and {_STAY:.0f} s later no longer did",
            Advice(text=f"{watch.start.name}: a server has to stay; see its last lines"),
        )
    warnings = (
        (f"listens on 127.0.0.1:{port} only, where no other pod reaches it: bind to 0.0.0.0",)
        if ports[port]
        else ()
    )
    return _pass(watch, Outcome.SERVED, detail, warnings)


def _judge_end(watch: _Watch, code: int, what: str = "") -> StartResult:
    """Return what it means that a command has ended."""
    what = what or f"ended with {code}"
    start = watch.start
    asked = watch.list_asked(watch.allowed)
    is_foreign = len(asked) < len({attempt.host for attempt in watch.sandbox.attempts()})
    failure = explain_end(watch.sandbox.endings(), watch.container.read_log(), watch.allowed)
    if asked and not is_foreign and failure.cause is Cause.SERVICE:
        detail = f"stopped at {', '.join(asked)} {watch.after}: {failure.error.line}"
        return _pass(watch, Outcome.STOPPED, detail)
    if code == 0 and not watch.must_listen and not start.services:
        warning = "ended with 0: a command that ends serves nothing"
        return _pass(watch, Outcome.ENDED, what, (warning,))
    fault = what
    if code == 0 and watch.must_listen:
        fault += f" and serves nothing: {_goal(watch)}"
    return _fail(watch, what, fault, _advise_on_end(watch, failure, asked))


def _judge_timeout(watch: _Watch) -> StartResult:
    """Return what it means that a command neither serves nor ends."""
    start, seconds = watch.start, f"{watch.start.seconds:.0f} s"
    asked = watch.list_asked(watch.allowed)
    waits = [
        attempt.host
        for attempt in watch.sandbox.attempts()
        if attempt.host in asked and (attempt.host in start.services or is_service(attempt))
    ]
    if waits:
        hosts = ", ".join(dict.fromkeys(waits))
        return _pass(watch, Outcome.WAITING, f"waits for {hosts} {watch.after}")
    if not watch.must_listen and not start.services:
        warning = f"ran for {seconds} without listening on a port: nothing else is proved"
        return _pass(watch, Outcome.RUNNING, f"runs for {seconds}", (warning,))
    fault = f"neither ended nor reached {_goal(watch)} in {seconds}"
    return _fail(watch, "hangs", fault, _advise_on_timeout(watch, asked))


def _advise_on_timeout(watch: _Watch, asked: Sequence[str]) -> Advice:
    """Return what to do about a start that neither serves nor ends."""
    start, ports = watch.start, watch.list_listeners()
    if start.port in ports:
        return Advice(
            text=f"{start.name}: port {start.port} answers, but {start.health} not with status "
            "200: name another path, or none, and the port alone has to answer",
            changes=(f'starts.{start.name}.health=""',),
        )
    if asked:
        return Advice(
            text=f"{start.name}: if it waits for a service, name it in its services",
            changes=(assign_list(f"starts.{start.name}.services", asked),),
        )
    if others := [port for port, is_loopback in ports.items() if not is_loopback]:
        return Advice(
            text=f"{start.name}: it listens on port {others[0]} instead",
            changes=(f"starts.{start.name}.port={others[0]}",),
        )
    if ports:
        return Advice(
            text=f"{start.name}: it listens on 127.0.0.1 only, where no other pod reaches it: bind "
            "to 0.0.0.0"
        )
    return Advice(
        text=f"{start.name}: see its last lines; a slow start needs more time",
        changes=(f"starts.{start.name}.seconds={max(60, 2 * round(start.seconds))}",),
    )


def _goal(watch: _Watch) -> str:
    start = watch.start
    port = f"port {start.port}" if start.port else "a port, as a process named web does"
    goals = [start.health or (port if watch.must_listen else ""), *start.services]
    return " or ".join(filter(None, goals))


def _advise_on_end(watch: _Watch, failure: Failure, asked: Sequence[str]) -> Advice:
    if failure.cause is Cause.UNKNOWN and asked:
        return Advice(
            text=f"{watch.start.name} asked for {', '.join(asked)}, but nothing shows that this is "
            "why it ended: let it print the exception, or wait for the service"
        )
    return advise_on_failure(
        failure,
        subject=watch.start.name,
        folder=watch.subject.recipe.folder,
        templates=watch.subject.source.templates,
        is_start=True,
    )


def _log_tail(watch: _Watch) -> str:
    return "\n".join(watch.container.read_log().strip().splitlines()[-_LOG_LINES:])
