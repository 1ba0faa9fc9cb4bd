"""`mirror warm`: a whole lock into the mirror, ahead of the pods that need it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import click

from cli.errors import INTERRUPTED
from cli.options import (
    ClusterOptions,
    OutputFormat,
    cluster_options,
    dry_run_option,
    local_option,
    output_option,
)
from cli.output import terminal
from mirror import lock
from mirror.core.codec import dump
from mirror.core.errors import InputError, MirrorError, UnfitError, WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.local.mirror import LocalMirror
from mirror.local.warm_runs import WarmRuns
from mirror.warm.request import (
    MissingDistribution,
    WarmProgress,
    WarmReport,
    WarmRequest,
    build_warm_request,
)
from mirror.warm.worker import DEFAULT_CONCURRENCY
from mirror.wheels import WHEEL_ARCHITECTURES, TargetEnvironment, select_pythons

_SAY = {"pages": "ask for the pages", "files": "fetch the files"}


@click.command()
@local_option
@cluster_options(default_timeout=6 * 3600)
@click.argument("sources", nargs=-1, metavar="LOCK|REQUIREMENTS|PACKAGE...")
@click.option("--follow", is_flag=True, help="Watch the last warming instead of starting one.")
@click.option("--detach", is_flag=True, help="Start it, and do not watch.")
@click.option(
    "--python",
    "versions",
    multiple=True,
    metavar="X.Y",
    help="Wheels for this Python; may be repeated.  [default: all that the lock allows]",
)
@click.option(
    "--machine",
    "machines",
    multiple=True,
    type=click.Choice(sorted(WHEEL_ARCHITECTURES)),
    help="Wheels for this architecture.  [default: those of the nodes]",
)
@click.option("--musl", is_flag=True, help="Wheels for musl too (Alpine images).")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="Requests at a time.",
)
@dry_run_option
@output_option
def warm(
    local: bool,
    target: ClusterOptions,
    sources: tuple[str, ...],
    follow: bool,
    detach: bool,
    versions: tuple[str, ...],
    machines: tuple[str, ...],
    musl: bool,
    at_once: int,
    dry_run: bool,
    output: OutputFormat,
) -> None:
    """Bring everything that a lock needs into the mirror.

    Takes uv.lock, pylock.toml, requirements (with hashes: those files and no others) and names
    of packages (their own files, not what they depend on: give a lock for that). It runs beside
    the mirror, in a cluster as a Job: Ctrl-C and a closed laptop do not end it. What the mirror
    has is not fetched again, so running it twice is how it resumes.

    Ends with 1 where something is missing, each with its reason.

    \b
    mirror warm uv.lock --python 3.12
    mirror warm requirements.txt
    mirror warm fastapi 'numpy>=2,<3'
    mirror warm --follow                  come back to the one that runs
    """
    _check(sources, follow, versions)
    place = _Local(target) if local else _Cluster(target)
    unfetchable: tuple[MissingDistribution, ...] = ()
    if follow:
        name = place.newest()
    else:
        pinned = lock.merge_locks([lock.read_lock(source) for source in sources])
        wanted = TargetEnvironment(
            pythons=versions or select_pythons(pinned.requires_python),
            machines=tuple(WHEEL_ARCHITECTURES[one] for one in machines) or place.machines(),
            musl=musl,
        )
        todo, unfetchable = build_warm_request(pinned.pins, wanted)
        if dry_run:
            _foretell(todo, unfetchable, output)
            return
        name = place.start(todo, at_once)
    if detach:
        terminal.facts(f"warming {name}", [("come back", _back(local))])
        return
    try:
        done = _watch(place, name, terminal.progress() if output == "table" else nullcontext(None))
    except KeyboardInterrupt:
        click.echo(f"\nthe warming goes on; come back to it: {_back(local)}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    _show(done, unfetchable, output)
    click.get_current_context().exit(1 if done.misses or unfetchable else 0)


class _Cluster:
    """Warmings as Jobs."""

    def __init__(self, target: ClusterOptions) -> None:
        from cli.connect import connect

        self._cluster, self._namespace = connect(target), target.namespace

    def machines(self) -> tuple[str, ...]:
        from deploy.lifecycle.warm import list_machines

        return list_machines(self._cluster)

    def start(self, todo: WarmRequest, at_once: int) -> str:
        from deploy.lifecycle.warm import start_job

        return start_job(self._cluster, self._namespace, todo, at_once)

    def newest(self) -> str:
        from deploy.lifecycle.warm import find_newest_job

        return find_newest_job(self._cluster, self._namespace) or _nothing()

    def follow(self, name: str) -> Iterator[WarmProgress | WarmReport]:
        from deploy.lifecycle.warm import follow_job

        yield from follow_job(self._cluster, self._namespace, name)


class _Local:
    """Warmings as processes of this machine."""

    def __init__(self, target: ClusterOptions) -> None:
        self._here = LocalMirror()
        self._deadline = Deadline.after(target.timeout)
        self._beside = WarmRuns(self._here)

    def machines(self) -> tuple[str, ...]:
        return (WHEEL_ARCHITECTURES.get(platform.machine(), "x86_64"),)

    def start(self, todo: WarmRequest, at_once: int) -> str:
        return self._beside.start(self._here.require_endpoint(self._deadline), todo, at_once)

    def newest(self) -> str:
        return self._beside.find_latest() or _nothing()

    def follow(self, name: str) -> Iterator[WarmProgress | WarmReport]:
        said: WarmProgress | WarmReport | None = None

        def look() -> tuple[WarmProgress | WarmReport] | None:
            running = self._beside.is_running(name)
            now = self._beside.read_progress(name)
            if not running and not isinstance(now, WarmReport):
                raise MirrorError(
                    "the warming was ended",
                    why=self._beside.read_log_tail(name),
                    next_step="run it again: what is there is not fetched again",
                )
            return (now,) if now is not None and now != said else None

        while not isinstance(said, WarmReport):
            try:
                (said,) = wait_until(
                    look, deadline=self._deadline, what="the warming", max_interval=0.5
                )
            except WaitTimeout as late:
                raise WaitTimeout(
                    "the warming is still at work", next_step="mirror warm --follow --local"
                ) from late
            yield said


def _check(sources: tuple[str, ...], follow: bool, versions: tuple[str, ...]) -> None:
    if bool(sources) == follow:
        raise InputError(
            "nothing to warm" if not sources else "--follow takes no packages",
            why="" if sources else "no lock, no requirements and no package were given",
            next_step="mirror warm uv.lock, or mirror warm --follow",
        )
    for version in versions:
        if not re.fullmatch(r"3\.\d{1,2}", version):
            raise InputError(
                f"not a Python version: {version[:40]!r}",
                why="it is written as 3.12",
                next_step="--python 3.12",
            )


def _nothing() -> str:
    raise UnfitError(
        "no warming is known",
        why="none was started, or the last one ended more than a day ago",
        next_step="mirror warm uv.lock",
    )


def _watch(
    place: _Cluster | _Local, name: str, live: AbstractContextManager[terminal.Live | None]
) -> WarmReport:
    current = ""
    with live as progress:
        for told in place.follow(name):
            if isinstance(told, WarmReport):
                return told
            if progress is None:
                continue
            if told.step != current:
                current = told.step
                progress.step(_SAY.get(current, current))
            left = f", {told.left:.0f} s left" if told.left is not None else ""
            progress.count(told.done, told.total, f"{told.text}{left}")
    raise MirrorError("the warming ended without a word")


def _foretell(
    todo: WarmRequest, misses: tuple[MissingDistribution, ...], output: OutputFormat
) -> None:
    if output != "table":
        terminal.document({"order": todo, "misses": misses}, output)
        return
    terminal.table(
        ("project", "version", "hashes"),
        [(one.name, one.specifier, str(len(one.hashes) or "any")) for one in todo.wanted],
    )
    _show_misses(misses)
    pythons, machines = ", ".join(todo.target.pythons), ", ".join(todo.target.machines)
    click.echo(f"\n{len(todo.wanted)} releases for Python {pythons} on Linux {machines}")
    click.echo("nothing was fetched")


def _show(done: WarmReport, more: tuple[MissingDistribution, ...], output: OutputFormat) -> None:
    if output != "table":
        terminal.document({**dump(done), "misses": dump([*done.misses, *more])}, output)
        return
    _show_misses((*done.misses, *more))
    click.echo(
        f"{done.files} files of {done.projects} releases are there, {done.size / 1e6:.0f} MB, "
        f"hashes right; {done.seconds:.1f} s"
    )


def _show_misses(misses: tuple[MissingDistribution, ...]) -> None:
    if misses:
        terminal.table(("missing", "why"), [(miss.name, miss.why) for miss in misses])


def _back(local: bool) -> str:
    return "mirror warm --follow" + (" --local" if local else "")
