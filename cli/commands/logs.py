"""`mirror logs`: what the mirror's programs have printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import click

from cli.options import ClusterOptions, cluster_options, local_option
from cli.streams import has_reader
from mirror.core.errors import InputError, UnfitError
from mirror.core.wait import Deadline, wait_until
from mirror.local.mirror import LocalMirror

_SECONDS = 1.0  # between two looks at the logs
_FOLLOWED_LINES = 1000  # that may be new in one look

_ReadLogs = Callable[[int], Mapping[str, list[str]]]  # the last lines of each program


@click.command()
@local_option
@cluster_options("1m")
@click.option(
    "--tail",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="LINES",
    help="Print this many of the last lines of each program.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines, until Ctrl-C.")
@click.option("--previous", is_flag=True, help="Of the containers before their last restart.")
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
def logs(
    local: bool,
    target: ClusterOptions,
    tail: int,
    follow: bool,
    previous: bool,
    programs: tuple[str, ...],
) -> None:
    """Print the logs of the mirror's programs.

    Without PROGRAM, those of all: devpi, the cache and nginx.

    \b
    mirror logs
    mirror logs devpi --tail 500
    mirror logs -f
    mirror logs --local
    """
    if local and previous:
        raise InputError(
            "--previous cannot be used with --local",
            why="a program of this machine overwrites its log when it starts",
            next_step="mirror logs --local",
        )
    if follow and previous:
        raise InputError(
            "--follow cannot be used with --previous",
            why="a container that has ended prints nothing more",
            next_step="mirror logs --previous",
        )
    read = partial(_read_cluster, target, previous=previous)
    if local:
        read = partial(_read_local, is_written=follow)
    found = read(max(tail, _FOLLOWED_LINES) if follow else tail)
    if unknown := [name for name in programs if name not in found]:
        raise InputError(
            f"no log of {', '.join(unknown)}",
            why=f"there are: {', '.join(found)}",
            next_step=f"mirror logs {next(iter(found))}" + (" --local" if local else ""),
        )
    for name in programs or found:
        _print_lines(name, found[name][-tail:])
    if follow:
        _follow(read, programs or tuple(found), found)


def _follow(read: _ReadLogs, programs: Sequence[str], printed: Mapping[str, Sequence[str]]) -> None:
    """Print new lines until nobody reads them; Ctrl-C ends it before."""
    before = dict(printed)

    def print_new() -> bool:
        found = read(_FOLLOWED_LINES)
        for name in programs:
            lines = found.get(name, [])
            _print_lines(name, find_new_lines(before.get(name, ()), lines))
            before[name] = lines
        sys.stdout.flush()
        return not has_reader()

    with suppress(KeyboardInterrupt):
        wait_until(
            print_new,
            deadline=Deadline.after(float("inf")),
            what="logs",
            interval=_SECONDS,
            max_interval=_SECONDS,
        )


def find_new_lines(before: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """Return the lines that a log has got since it ended with ``before``; all after a restart."""
    for start in range(len(before)):
        kept = before[start:]
        if list(lines[: len(kept)]) == list(kept):
            return lines[len(kept) :]
    return lines


def _print_lines(name: str, lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"[{name}] {line}")


def _read_local(lines: int, *, is_written: bool) -> dict[str, list[str]]:
    """Read the logs of this machine; if they are being written, without a line that has no end."""
    folder = LocalMirror().paths.state_dir
    logs = sorted(folder.glob("*.log"))
    if not logs:
        raise UnfitError(
            "there are no logs of a mirror on this machine",
            why=f"there is no *.log in {folder}",
            next_step="mirror up --local",
        )
    texts = {path.stem: path.read_text(errors="replace") for path in logs}
    if is_written:
        texts = {name: text[: text.rfind("\n") + 1] for name, text in texts.items()}
    return {name: text.splitlines()[-lines:] for name, text in texts.items()}


def _read_cluster(target: ClusterOptions, lines: int, *, previous: bool) -> dict[str, list[str]]:
    from deploy.cluster.client import ApiError
    from deploy.cluster.objects import get_all_containers
    from deploy.lifecycle.connect import no_mirror_error
    from deploy.manifests.model import POD_NAME

    cluster = target.connect()
    pod = cluster.get("Pod", POD_NAME, target.namespace)
    if pod is None:
        raise no_mirror_error(cluster, target.namespace, f"there is no pod {POD_NAME}")
    found = {}
    for container in get_all_containers(pod["spec"]):
        name = container["name"]
        try:
            text = cluster.read_log(
                target.namespace, POD_NAME, name, lines=lines, previous=previous
            )
        except ApiError as error:
            text = f"(no log: {error.why})"
        found[name] = text.splitlines()[-lines:]
    return found
