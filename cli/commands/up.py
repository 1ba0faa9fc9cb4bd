"""`mirror up`: start the mirror, or change its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.delivery_options import DeliveryFlags, delivery_options
from cli.options import (
    IMAGE,
    ClusterOptions,
    MirrorOptions,
    OutputFormat,
    WriteOptions,
    cluster_options,
    dry_run_option,
    given_options,
    local_option,
    mirror_options,
    output_option,
    yes_option,
)
from cli.output import mirror_state, terminal
from mirror.core.codec import dump
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.cluster.client import Object
    from deploy.lifecycle.up import PlannedObject, UpResult


@click.command()
@local_option
@cluster_options("10m")
@mirror_options
@click.option("--new-address", is_flag=True, help="Do not keep the recorded ClusterIP.")
@click.option("--with-fixes", is_flag=True, help="Then apply every fix, as `mirror fix all` does.")
@yes_option
@click.option("--image", type=IMAGE, metavar="REF", help="Use this image instead of building one.")
@click.option("--base", type=IMAGE, metavar="IMAGE", help="Build on this base image.")
@delivery_options("the first that can be used")
@dry_run_option
@output_option
def up(
    local: bool,
    target: ClusterOptions,
    settings: MirrorOptions,
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
    mirror up --local               on this machine, no cluster
    mirror up                       in the cluster of the current context
    mirror up --storage-class fast --size 50Gi --node ra
    mirror up --image registry.example/pypi-mirror:1
    mirror up --dry-run -o yaml     the objects, nothing written
    mirror up --with-fixes          then apply every fix; shows the plan first
    """
    ca_pem = settings.read_ca()
    if local:
        _refuse_with_local(
            {
                **settings.list_given(),
                **{"image": image, "base": base, **dump(delivery)},
                **{"new_address": new_address or None, "with_fixes": with_fixes or None},
            }
        )
        overrides = settings.list_given()
        if settings.ca_bundle:
            overrides["ca_bundle"] = str(settings.ca_bundle.resolve())
        if dry_run:
            mirror_state.print_local_plan(LocalMirror(), overrides, output)
            return
        with terminal.progress() as progress:
            status = LocalMirror().up(
                overrides=overrides, progress=progress, deadline=Deadline.after(target.timeout)
            )
        mirror_state.print_local(status, None, output)
        return
    from cli import fix_workflow
    from deploy.lifecycle.image import ImageRequest
    from deploy.lifecycle.up import UpRequest, bring_up, plan_up

    write = WriteOptions(force=False, dry_run=dry_run, yes=yes, output=output)
    if with_fixes and not dry_run:
        fix_workflow.check_answerable(write)  # before anything is written
    cluster = target.connect()
    image_request = ImageRequest(image=image, base=base, delivery=delivery.to_delivery_options())
    request = UpRequest(
        namespace=target.namespace,
        options=settings.list_given(),
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
        document: dict[str, Any] = {"objects": steps}
        agent_image = image
    else:
        document = {**dump(result), "url": result.endpoint.url}
        image, agent_image = result.image, result.agent_image
        if output == "table":
            _show_result(result)
    if with_fixes:
        document["fixes"] = fix_workflow.run_all_fixes(
            target, image, write, agent_image=agent_image
        )
    elif not dry_run and output == "table":
        click.echo("\nnext: mirror env --publish NAMESPACE   gives it to the pods of a namespace")
    if output != "table" and (with_fixes or not dry_run):
        terminal.document(document, output)


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


_LOCAL_OPTIONS = {
    "port",
    "upstream",
    "upstreams",
    "pins",
    "min_age",
    "allow",
    "deny",
    "allow_hosts",
}


def _refuse_with_local(options: Mapping[str, Any]) -> None:
    """Raise InputError for options that only a mirror in a cluster has."""
    names = [name for name in given_options(options) if name not in _LOCAL_OPTIONS]
    if names:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        raise InputError(
            f"{flags} cannot be used with --local",
            why="the mirror on this machine is in no cluster, and needs no image",
            next_step="omit it, or omit --local",
        )
