"""`mirror up`: start the mirror, or change its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.delivery_options import DeliveryFlags, delivery_options
from cli.options import (
    ClusterOptions,
    OutputFormat,
    cluster_options,
    dry_run_option,
    given_options,
    local_option,
    output_option,
    read_ca_option,
)
from cli.output import mirror_state, terminal
from mirror.core.codec import dump
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.settings import check_index_url, check_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.cluster.client import Object
    from deploy.lifecycle.up import PlannedObject, UpResult


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
@click.option("--new-address", is_flag=True, help="Do not keep the recorded ClusterIP.")
@click.option("--with-fixes", is_flag=True, help="Then apply every fix, as `mirror fix all` does.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask about the fixes.")
@click.option("--image", metavar="REF", help="Use this image instead of building one.")
@click.option("--base", metavar="IMAGE", help="Build on this base image.")
@delivery_options("the first that can be used")
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
    image: str | None,
    base: str | None,
    delivery: DeliveryFlags,
    dry_run: bool,
    output: OutputFormat,
) -> None:
    """Start the mirror, or change its settings.

    In a cluster, a pod on every node then installs a package from it. Options are remembered: a
    later `up` needs none of them.

    \b
    mirror up --local                       on this machine, no cluster
    mirror up                               in the cluster of the current context
    mirror up --storage-class fast --size 50Gi --node ra
    mirror up --image registry.example/pypi-mirror:1  with an image of your own
    mirror up --dry-run -o yaml             the objects, nothing written
    mirror up --with-fixes                  then apply every fix; the plan is shown first
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
    ca_pem = read_ca_option(ca_bundle)
    if local:
        flags = {"dry_run": dry_run, "new_address": new_address, "with_fixes": with_fixes}
        given = {name: value or None for name, value in flags.items()}
        _refuse_with_local(cluster_only | {"image": image, "base": base} | dump(delivery) | given)
        settings = common | {"ca_bundle": str(ca_bundle.resolve()) if ca_bundle else None}
        with terminal.progress() as progress:
            status = LocalMirror().up(
                overrides=given_options(settings),
                progress=progress,
                deadline=Deadline.after(target.timeout),
            )
        mirror_state.print_local(status, None, output)
        return
    from cli import fix_workflow
    from cli.connect import connect
    from deploy.lifecycle.image import ImageRequest
    from deploy.lifecycle.up import UpRequest, bring_up, plan_up

    if with_fixes and not dry_run:
        fix_workflow.check_answerable(yes=yes)  # before anything is written
    cluster = connect(target)
    image_request = ImageRequest(image=image, base=base, delivery=delivery.to_delivery_options())
    request = UpRequest(
        namespace=target.namespace,
        options=given_options(common | cluster_only),
        ca_pem=ca_pem,
        new_address=new_address,
    )
    with terminal.progress() as progress:
        if dry_run:
            steps, objects = plan_up(cluster, request, image_request, progress)
        else:
            result = bring_up(cluster, request, image_request, progress)
    if dry_run:
        if output == "table" or not with_fixes:
            _show_plan(steps, objects, output)
        if with_fixes:
            fix_workflow.preview_all(target, image, {"objects": steps}, output)
        return
    document = {**dump(result), "url": result.endpoint.url}
    if output == "table":
        _show_result(result)
    if with_fixes:
        fix_workflow.apply_all(target, result.image, document, output, yes=yes)
    elif output != "table":
        terminal.document(document, output)
    else:
        click.echo("\nnext: mirror env --publish NAMESPACE   gives it to the pods of a namespace")


def _show_result(result: UpResult) -> None:
    terminal.facts(
        f"mirror in {result.context}, namespace {result.namespace}: running",
        [
            ("index", result.endpoint.url),
            ("node", result.node),
            ("image", result.image),
            ("proved on", ", ".join(probe.node for probe in result.probes)),
            *(("NOT proved", f"{name} (NotReady)") for name in result.not_ready),
        ],
    )


def _show_plan(
    steps: Sequence[PlannedObject], objects: Sequence[Object], output: OutputFormat
) -> None:
    if output == "yaml":
        terminal.yaml_documents(objects)
    elif output == "json":
        terminal.document(steps, output)
    else:
        terminal.table(("", "kind", "name"), [(s.action, s.kind, s.name) for s in steps])
        click.echo("\nnothing was written; -o yaml shows the objects")


def _refuse_with_local(options: Mapping[str, Any]) -> None:
    names = [f"--{name.replace('_', '-')}" for name in given_options(options)]
    if names:
        raise InputError(
            f"{', '.join(names)} cannot be used with --local",
            why="a mirror on this machine has no nodes and no volumes",
            next_step="omit it, or omit --local",
        )
