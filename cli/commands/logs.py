"""`mirror logs`: what the mirror's programs have printed."""

from __future__ import annotations

from collections.abc import Iterator

import click

from cli.options import ClusterOptions, cluster_options, local_option
from mirror.core.errors import InputError, UnfitError
from mirror.local.mirror import LocalMirror


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
@click.option("--previous", is_flag=True, help="Of the containers before their last restart.")
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
def logs(
    local: bool, target: ClusterOptions, tail: int, previous: bool, programs: tuple[str, ...]
) -> None:
    """Print the logs of the mirror's programs.

    Without PROGRAM, those of all: devpi, the cache and nginx.

    \b
    mirror logs
    mirror logs devpi --tail 500
    mirror logs --local
    """
    if local and previous:
        raise InputError(
            "--previous cannot be used with --local",
            why="a program of this machine overwrites its log when it starts",
            next_step="mirror logs --local",
        )
    found = dict(_read_local() if local else _read_cluster(target, tail, previous=previous))
    if unknown := [name for name in programs if name not in found]:
        raise InputError(
            f"no log of {', '.join(unknown)}",
            why=f"there are: {', '.join(found)}",
            next_step=f"mirror logs {next(iter(found))}" + (" --local" if local else ""),
        )
    for name in programs or found:
        for line in found[name].splitlines()[-tail:]:
            click.echo(f"[{name}] {line}")


def _read_local() -> Iterator[tuple[str, str]]:
    folder = LocalMirror().paths.state_dir
    logs = sorted(folder.glob("*.log"))
    if not logs:
        raise UnfitError(
            "there are no logs of a mirror on this machine",
            why=f"there is no *.log in {folder}",
            next_step="mirror up --local",
        )
    for path in logs:
        yield path.stem, path.read_text(errors="replace")


def _read_cluster(
    target: ClusterOptions, tail: int, *, previous: bool
) -> Iterator[tuple[str, str]]:
    from deploy.cluster.client import ApiError
    from deploy.cluster.objects import get_all_containers
    from deploy.lifecycle.connect import no_mirror_error
    from deploy.manifests.model import POD_NAME

    cluster = target.connect()
    pod = cluster.get("Pod", POD_NAME, target.namespace)
    if pod is None:
        raise no_mirror_error(cluster, target.namespace, f"there is no pod {POD_NAME}")
    for container in get_all_containers(pod["spec"]):
        name = container["name"]
        try:
            text = cluster.read_log(target.namespace, POD_NAME, name, lines=tail, previous=previous)
        except ApiError as error:
            text = f"(no log: {error.why})"
        yield name, text
