"""`mirror up`, `down`, `manifests`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.image_options import ImageOptions, image_options
from cli.options import (
    ClusterOptions,
    OutputFormat,
    cluster_options,
    dry_run_option,
    local_option,
    output_option,
)
from cli.output import mirror_state, terminal
from mirror.core.codec import dump
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.settings import check_index_url, check_port


@click.command()
@local_option
@cluster_options(default_timeout=600)
@click.option("--port", type=int, help="Port of the index.  [default: 3141]")
@click.option("--upstream", metavar="URL", help="Index to mirror.  [default: devpi's own]")
@click.option(
    "--ca-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificates (PEM) to trust, where the network intercepts TLS.",
)
@click.option("--size", metavar="QUANTITY", help="Size of the volume.  [default: 20Gi]")
@click.option("--storage-class", metavar="NAME", help="[default: the cluster's default]")
@click.option("--node", metavar="NAME", help="Run on this node.  [default: any]")
@click.option("--node-port", type=int, help="Also serve on this port of every node.")
@click.option("--new-address", is_flag=True, help="Give up the recorded ClusterIP.")
@click.option("--with-fixes", is_flag=True, help="Then make every fix, as `mirror fix all`.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask about the fixes.")
@image_options
@dry_run_option
@output_option
def up(
    local: bool,
    target: ClusterOptions,
    port: int | None,
    upstream: str | None,
    ca_bundle: Path | None,
    size: str | None,
    storage_class: str | None,
    node: str | None,
    node_port: int | None,
    new_address: bool,
    with_fixes: bool,
    yes: bool,
    image: ImageOptions,
    dry_run: bool,
    output: OutputFormat,
) -> None:
    """Start the mirror, or bring it to these settings.

    In a cluster it is proved by a pod on every node, which installs a package. Options that were
    given once are remembered: a later `up` needs none of them.

    \b
    mirror up --local                       on this machine, no cluster
    mirror up                               in the cluster of the current context
    mirror up --storage-class fast --size 50Gi --node ra
    mirror up --image registry.example/pypi-mirror:1  with an image of your own
    mirror up --dry-run -o yaml             the objects, nothing written
    mirror up --with-fixes                  and end what made pods fail; its plan is shown first
    """
    common = {"port": port, "upstream": upstream}
    if port is not None:
        check_port(port)
    if upstream is not None:
        check_index_url(upstream)
    cluster_only = {
        "size": size,
        "storage_class": storage_class,
        "node": node,
        "node_port": node_port,
    }
    pem = _read_ca_bundle(ca_bundle)
    if local:
        given = cluster_only | dump(image) | {"dry_run": dry_run or None}
        _refuse(given | {"new_address": new_address or None, "with_fixes": with_fixes or None})
        settings = common | {"ca_bundle": str(ca_bundle.resolve()) if ca_bundle else None}
        with terminal.progress() as progress:
            begun = Deadline.after(target.timeout)
            status = LocalMirror().up(overrides=_given(settings), progress=progress, deadline=begun)
        mirror_state.local(status, None, output)
        return
    from cli import fix_workflow
    from cli.connect import connect
    from deploy.delivery import DeliveryOptions
    from deploy.lifecycle import image as image_module
    from deploy.lifecycle import up as deployment

    if with_fixes and not dry_run:
        fix_workflow.check_answerable(yes=yes)  # not half of it first
    cluster = connect(target)
    wish = image_module.ImageRequest(
        image=image.image,
        base=image.base,
        delivery=DeliveryOptions(
            method=image.deliver,
            registry=image.registry,
            import_command=image.import_command,
            ssh=image.ssh,
        ),
    )
    request = deployment.UpRequest(
        namespace=target.namespace,
        options=_given(common | cluster_only),
        ca_pem=pem,
        new_address=new_address,
    )
    with terminal.progress() as progress:
        if dry_run:
            steps, wanted = deployment.plan_up(cluster, request, wish, progress)
        else:
            done = deployment.bring_up(cluster, request, wish, progress)
    if dry_run:
        if output == "table" or not with_fixes:
            _show_plan(steps, wanted, output)
        if with_fixes:
            fix_workflow.foresee_all(target, image.image, {"objects": steps}, output)
        return
    told = {**dump(done), "url": done.endpoint.url}
    if output == "table":
        _show_up(done)
    if with_fixes:
        fix_workflow.make_all(target, done.image, told, output, yes=yes)
    elif output != "table":
        terminal.document(told, output)
    else:
        click.echo("\nnext: mirror env --publish NAMESPACE   gives it to the pods of a namespace")


def _show_up(done: Any) -> None:
    terminal.facts(
        f"mirror in {done.context}, namespace {done.namespace}: running",
        [
            ("index", done.endpoint.url),
            ("node", done.node),
            ("image", done.image),
            ("proved on", ", ".join(probe.node for probe in done.probes)),
            *(("NOT proved", f"{name} (NotReady)") for name in done.not_ready),
        ],
    )


@click.command()
@local_option
@cluster_options(default_timeout=120)
@click.option("--purge", is_flag=True, help="Remove packages, settings and secrets too.")
@output_option
def down(local: bool, target: ClusterOptions, purge: bool, output: OutputFormat) -> None:
    """Stop the mirror; packages and its address stay unless --purge."""
    if local:
        with terminal.progress() as progress:
            stopped = LocalMirror().down(purge=purge, progress=progress)
        if output != "table":
            terminal.document({"stopped": stopped, "purged": purge}, output)
        else:
            click.echo("stopped" if stopped else "nothing was running")
        return
    from cli.connect import connect
    from deploy.lifecycle.down import take_down as take_down

    with terminal.progress() as progress:
        done = take_down(connect(target), target.namespace, purge=purge, progress=progress)
    if output != "table":
        terminal.document(done, output)
        return
    for name in done.removed:
        click.echo(f"removed {name}")
    for name in done.withdrawn:
        click.echo(f"removed the environment from namespace {name}")
    if not done.removed:
        click.echo("nothing was running")
    elif not purge:
        click.echo("packages, password and address are kept: `mirror up` brings them back")


@click.command()
@cluster_options(default_timeout=30)
@click.option("--image", required=True, help="Reference that the nodes can pull.")
@click.option("--port", type=int, default=3141, show_default=True, help="Port of the index.")
@click.option("--cluster-ip", help="Address of the Service; without it the cluster chooses.")
@click.option("--size", default="20Gi", show_default=True, help="Size of the volume.")
@click.option("--storage-class", help="[default: the cluster's default]")
@click.option("--node", help="Run on this node.")
@click.option("--node-port", type=int, help="Also serve on this port of every node.")
@click.option("--upstream", metavar="URL", help="Index to mirror.  [default: devpi's own]")
@click.option("--ca-bundle", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--inside",
    multiple=True,
    metavar="CIDR",
    help="Range of the cluster, not to be reached out to.",
)
def manifests(
    target: ClusterOptions,
    image: str,
    ca_bundle: Path | None,
    inside: tuple[str, ...],
    **options: Any,
) -> None:
    """Print the mirror's objects as YAML, for GitOps. Talks to no cluster; holds no secret.

    The StatefulSet refers to a Secret `pypi-mirror` with the keys root-password and secretfile
    (random, 32 bytes or more). `mirror up` makes it; with GitOps, make it with your own tool.
    """
    from deploy.manifests.mirror_objects import render_objects
    from deploy.manifests.model import ClusterSettings

    settings = ClusterSettings(
        image=image,
        namespace=target.namespace,
        ca_pem=_read_ca_bundle(ca_bundle),
        cluster_cidrs=inside,
        **_given(options),
    )
    terminal.yaml_documents(render_objects(settings))


def _read_ca_bundle(path: Path | None) -> str | None:
    if path is None:
        return None
    from images.build_mirror import read_ca_bundle

    return read_ca_bundle(path)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _refuse(options: Mapping[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name in _given(options)]
    if given:
        raise InputError(
            f"{', '.join(given)}: not with --local",
            why="a mirror on this machine has no nodes and no volumes",
            next_step="leave it out, or leave --local out",
        )


def _show_plan(steps: Any, wanted: Any, output: OutputFormat) -> None:
    if output == "yaml":
        terminal.yaml_documents(wanted)
    elif output == "json":
        terminal.document(steps, output)
    else:
        terminal.table(("", "kind", "name"), [(s.action, s.kind, s.name) for s in steps])
        click.echo("\nnothing was written; -o yaml shows the objects")
