"""`mirror warm`: fetch a whole lock into the mirror before pods need it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress

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
from mirror.cache_status import CacheStatus
from mirror.client import IndexClient
from mirror.core.codec import dump
from mirror.core.errors import InputError, MirrorError, UnfitError, WaitTimeout
from mirror.core.wait import Deadline
from mirror.exemptions import ExemptionRequest, add_exemptions
from mirror.local.mirror import LocalMirror
from mirror.local.warm_runs import WarmRuns
from mirror.lock_formats.files import read_any_lock
from mirror.warm.follow import follow_run
from mirror.warm.request import (
    MissingDistribution,
    WarmProgress,
    WarmReport,
    WarmRequest,
    build_warm_request,
)
from mirror.warm.worker import DEFAULT_CONCURRENCY
from mirror.wheels import WHEEL_ARCHITECTURES, TargetEnvironment, select_pythons

_STEP_TITLES = {"pages": "fetch the project pages", "files": "fetch the files"}


@click.command()
@local_option
@cluster_options("6h")
@click.argument("sources", nargs=-1, metavar="LOCK|REQUIREMENTS|PACKAGE...")
@click.option("--follow", is_flag=True, help="Follow the latest run instead of starting one.")
@click.option("--detach", is_flag=True, help="Start it and return.")
@click.option(
    "--python",
    "versions",
    multiple=True,
    metavar="X.Y",
    help="Fetch wheels for this Python; repeatable.  [default: all that the lock allows]",
)
@click.option(
    "--machine",
    "machines",
    multiple=True,
    type=click.Choice(sorted(WHEEL_ARCHITECTURES)),
    help="Fetch wheels for this architecture.  [default: those of the nodes]",
)
@click.option("--musl", is_flag=True, help="Also fetch wheels for musl (Alpine images).")
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="Number of concurrent requests.",
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
    """Fetch everything that a lock needs into the mirror.

    Takes the locks of uv, Poetry, PDM and Pipenv, pylock.toml, requirements files (with hashes:
    exactly those files) and package names (without their dependencies). It runs beside the mirror,
    in a cluster as a Job, so Ctrl-C does not stop it. Files that the mirror has are not fetched
    again: to resume, run it again.

    Exits with 1 if something is missing, and lists each with its reason.

    \b
    mirror warm uv.lock --python 3.12
    mirror warm requirements.txt
    mirror warm fastapi 'numpy>=2,<3'
    mirror warm --follow                  follow the latest run
    """
    _check_arguments(sources, follow, versions)
    # before the cluster is asked
    locks = [read_any_lock(source) for source in sources]
    pinned = lock.merge_locks(locks)
    backend = _LocalBackend(target) if local else _ClusterBackend(target)
    unfetchable: tuple[MissingDistribution, ...] = ()
    if follow:
        name = backend.find_latest()
    else:
        environment = TargetEnvironment(
            pythons=versions or select_pythons(pinned.requires_python),
            machines=tuple(WHEEL_ARCHITECTURES[name] for name in machines)
            or backend.list_machines(),
            musl=musl,
        )
        stats = None if dry_run else backend.read_stats()
        upstreams = {u.url: u.name for u in stats.upstreams} if stats else {}
        if len(upstreams) < 2:
            upstreams = {}  # the mirror's one index stands for whatever the lock names
        request, unfetchable = build_warm_request(pinned.pins, environment, upstreams)
        if dry_run:
            _print_dry_run(request, unfetchable, output)
            return
        if stats and any(rule.startswith("min-age") for rule in stats.policy):
            backend.exempt(_build_exemptions(request))
        name = backend.start(request, at_once)
    if detach:
        terminal.facts(f"warm run {name}", [("follow", _follow_command(local))])
        return
    try:
        progress = terminal.progress() if output == "table" else nullcontext(None)
        report = _follow(backend, name, progress)
    except KeyboardInterrupt:
        click.echo(f"\nthe run continues; to follow it: {_follow_command(local)}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    _print_report(report, unfetchable, output)
    click.get_current_context().exit(1 if report.misses or unfetchable else 0)


def _build_exemptions(request: WarmRequest) -> ExemptionRequest:
    """Return the hashes of the locks, for which the minimum age of files does not count."""
    return ExemptionRequest(
        lock=request.digest,
        sha256=tuple(digest for release in request.releases for digest in release.hashes),
        projects=tuple(release.name for release in request.releases if release.hashes),
    )


class _ClusterBackend:
    """Runs as Jobs in the cluster."""

    def __init__(self, target: ClusterOptions) -> None:

        self._cluster, self._namespace = target.connect(), target.namespace

    def read_stats(self) -> CacheStatus | None:
        from deploy.lifecycle.connect import open_client, read_endpoint

        endpoint = read_endpoint(self._cluster, self._namespace)
        # the Job may reach it all the same
        with (
            suppress(MirrorError),
            open_client(self._cluster, self._namespace, endpoint) as client,
        ):
            return client.read_stats()
        return None

    def exempt(self, request: ExemptionRequest) -> None:
        from deploy.lifecycle.warm import exempt_files

        exempt_files(self._cluster, self._namespace, request)

    def list_machines(self) -> tuple[str, ...]:
        from deploy.lifecycle.warm import list_machines

        return list_machines(self._cluster)

    def start(self, request: WarmRequest, at_once: int) -> str:
        from deploy.lifecycle.warm import start_job

        return start_job(self._cluster, self._namespace, request, at_once)

    def find_latest(self) -> str:
        from deploy.lifecycle.warm import find_newest_job

        return find_newest_job(self._cluster, self._namespace) or _raise_no_run()

    def follow(self, name: str) -> Iterator[WarmProgress | WarmReport]:
        from deploy.lifecycle.warm import follow_job

        yield from follow_job(self._cluster, self._namespace, name)


class _LocalBackend:
    """Runs as processes on this machine."""

    def __init__(self, target: ClusterOptions) -> None:
        self._mirror = LocalMirror()
        self._deadline = Deadline.after(target.timeout)
        self._runs = WarmRuns(self._mirror)

    def read_stats(self) -> CacheStatus | None:
        endpoint = self._mirror.require_endpoint(self._deadline)
        with IndexClient(endpoint.root_url, self._deadline) as client:
            return client.read_stats()

    def exempt(self, request: ExemptionRequest) -> None:
        add_exemptions(self._mirror.paths.data_dir, request)

    def list_machines(self) -> tuple[str, ...]:
        return (WHEEL_ARCHITECTURES.get(platform.machine(), "x86_64"),)

    def start(self, request: WarmRequest, at_once: int) -> str:
        return self._runs.start(self._mirror.require_endpoint(self._deadline), request, at_once)

    def find_latest(self) -> str:
        return self._runs.find_latest() or _raise_no_run()

    def follow(self, name: str) -> Iterator[WarmProgress | WarmReport]:
        def read_message() -> WarmProgress | WarmReport | None:
            running = self._runs.is_running(name)
            message = self._runs.read_progress(name)
            if not running and not isinstance(message, WarmReport):
                raise MirrorError(
                    "the run was stopped",
                    why=self._runs.read_log_tail(name),
                    next_step="run it again: stored files are not fetched again",
                )
            return message

        timeout_error = WaitTimeout(
            "the run is still working", next_step="mirror warm --follow --local"
        )
        return follow_run(
            read_message,
            deadline=self._deadline,
            max_interval=0.5,
            timeout_error=timeout_error,
        )


def _check_arguments(sources: tuple[str, ...], follow: bool, versions: tuple[str, ...]) -> None:
    if bool(sources) == follow:
        raise InputError(
            "nothing to warm" if not sources else "--follow takes no packages",
            why="it follows the latest run"
            if sources
            else "no lock, requirements file or package was given",
            next_step="mirror warm uv.lock, or mirror warm --follow",
        )
    for version in versions:
        if not re.fullmatch(r"3\.\d{1,2}", version):
            raise InputError(
                f"not a Python version: {version[:40]!r}",
                why="the format is MAJOR.MINOR, such as 3.12",
                next_step="give one such as --python 3.12",
            )


def _raise_no_run() -> str:
    raise UnfitError(
        "there is no warm run",
        why="none was started, or the latest ended more than a day ago",
        next_step="mirror warm uv.lock",
    )


def _follow(
    backend: _ClusterBackend | _LocalBackend,
    name: str,
    live: AbstractContextManager[terminal.Live | None],
) -> WarmReport:
    current = ""
    with live as progress:
        for message in backend.follow(name):
            if isinstance(message, WarmReport):
                return message
            if progress is None:
                continue
            if message.step != current:
                current = message.step
                progress.step(_STEP_TITLES.get(current, current))
            left = f", {message.left:.0f} s left" if message.left is not None else ""
            progress.count(message.done, message.total, f"{message.text}{left}")
    raise MirrorError("the run ended without a report")


def _print_dry_run(
    request: WarmRequest, misses: tuple[MissingDistribution, ...], output: OutputFormat
) -> None:
    if output != "table":
        terminal.document({"order": request, "misses": misses}, output)
        return
    terminal.table(
        ("project", "version", "hashes"),
        [
            (release.name, release.specifier, str(len(release.hashes) or "any"))
            for release in request.releases
        ],
    )
    _print_misses(misses)
    pythons, machines = ", ".join(request.target.pythons), ", ".join(request.target.machines)
    click.echo(f"\n{len(request.releases)} releases for Python {pythons} on Linux {machines}")
    click.echo("nothing was fetched")


def _print_report(
    report: WarmReport, unfetchable: tuple[MissingDistribution, ...], output: OutputFormat
) -> None:
    misses = (*report.misses, *unfetchable)
    if output != "table":
        terminal.document({**dump(report), "misses": dump(misses)}, output)
        return
    _print_misses(misses)
    click.echo(
        f"{report.files} files of {report.projects} releases are stored, "
        f"{report.size / 1e6:.0f} MB, hashes verified; {report.seconds:.1f} s"
    )


def _print_misses(misses: tuple[MissingDistribution, ...]) -> None:
    if misses:
        terminal.table(("missing", "why"), [(miss.name, miss.why) for miss in misses])


def _follow_command(local: bool) -> str:
    return "mirror warm --follow" + (" --local" if local else "")
