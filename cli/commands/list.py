"""`mirror list`: the projects of the mirror, or the workloads that use it."""

from __future__ import annotations

import click

from cli.index_session import open_index
from cli.options import (
    NAMESPACE,
    ClusterOptions,
    OutputFormat,
    cluster_options,
    list_output_option,
    local_option,
)
from cli.output import terminal
from mirror.core.errors import InputError, UnfitError
from mirror.local.mirror import LocalMirror
from mirror.store.inventory import (
    CachedProject,
    PrivateProject,
    list_cached_projects,
    list_private_projects,
)


@click.command(name="list")
@local_option
@cluster_options("1m", about_workloads=True)
@click.option("--private", "only", flag_value="private", help="Only private projects.")
@click.option("--cached", "only", flag_value="cached", help="Only cached projects.")
@click.option("--workloads", is_flag=True, help="Workloads that `mirror attach` changed.")
@click.option(
    "-n",
    "--namespace",
    "workload_namespace",
    type=NAMESPACE,
    metavar="NS",
    help="With --workloads: only in this namespace.",
)
@click.option(
    "-A", "--all-namespaces", is_flag=True, help="With --workloads: in all, which is the default."
)
@list_output_option
def list_projects(
    local: bool,
    target: ClusterOptions,
    only: str | None,
    workloads: bool,
    workload_namespace: str | None,
    all_namespaces: bool,
    output: OutputFormat,
) -> None:
    """List private and cached projects, or attached workloads.

    \b
    mirror list
    mirror list --private -o json     with the names of the files
    mirror list --cached -o name
    mirror list --workloads -n chronicle
    """
    if (workload_namespace or all_namespaces) and not workloads:
        raise InputError(
            "--namespace and --all-namespaces need --workloads",
            why="projects are in the index; --mirror-namespace chooses the mirror",
            next_step="mirror list --workloads",
        )
    if workloads:
        if local or (workload_namespace and all_namespaces):
            raise InputError(
                "--workloads lists one namespace of a cluster, or all of them",
                why="--local, --namespace and --all-namespaces exclude each other",
                next_step="mirror list --workloads",
            )
        _list_workloads(target, workload_namespace, output)
        return
    private, cached = _read_local() if local else _read_cluster(target)
    private = () if only == "cached" else private
    cached = () if only == "private" else cached
    if output == "name":
        for name in [*(p.name for p in private), *(p.name for p in cached or ())]:
            click.echo(name)
    elif output != "table":
        terminal.document({"private": private, "cached": cached}, output)
    else:
        _print_table(private, cached)


def _list_workloads(target: ClusterOptions, namespace: str | None, output: OutputFormat) -> None:
    from deploy.repair.attach import list_attached

    attached = [
        workload
        for workload in list_attached(target.connect())
        if namespace in (None, workload.namespace)
    ]
    if output == "name":
        for workload in attached:
            click.echo(f"{workload.kind.lower()}/{workload.name}")
    elif output != "table":
        terminal.document(attached, output)
    elif attached:
        rows = [(workload.namespace or "", workload.kind, workload.name) for workload in attached]
        terminal.table(("namespace", "kind", "name"), rows)
    else:
        click.echo("no workload is attached: mirror attach deployment/NAME -n NAMESPACE")


def _read_local() -> tuple[tuple[PrivateProject, ...], tuple[CachedProject, ...]]:
    """Read the folders of this machine's mirror, whether it runs or not."""
    paths = LocalMirror().paths
    if not paths.data_dir.is_dir():
        raise UnfitError(
            "there is no mirror on this machine",
            why=f"{paths.data_dir} does not exist",
            next_step="mirror up --local",
        )
    return list_private_projects(paths.data_dir), list_cached_projects(paths.cache_dir)


def _read_cluster(
    target: ClusterOptions,
) -> tuple[tuple[PrivateProject, ...], tuple[CachedProject, ...] | None]:
    with open_index(local=False, target=target) as client:
        return client.list_private_projects(), client.list_cached_projects()


def _print_table(
    private: tuple[PrivateProject, ...], cached: tuple[CachedProject, ...] | None
) -> None:
    rows = [(p.name, "private", str(len(p.files) or "reserved"), "") for p in private]
    rows += [(p.name, "cached", str(p.files), f"{p.size / 1e6:.1f} MB") for p in cached or ()]
    if rows:
        terminal.table(("project", "", "files", "size"), rows)
    else:
        click.echo("there are no projects yet: mirror warm uv.lock, or mirror add dist/")
    if cached is None:
        click.echo("cached projects are not listed: the mirror's image is older (mirror up)")
