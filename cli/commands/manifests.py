"""`mirror manifests`: the mirror's objects as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.options import ClusterOptions, cluster_options, given_options, read_ca_option
from cli.output import terminal


@click.command()
@cluster_options(default_timeout=30)
@click.option("--image", required=True, help="Image reference that the nodes can pull.")
@click.option("--port", type=int, default=3141, show_default=True, help="Port of the index.")
@click.option("--cluster-ip", help="Address of the Service.  [default: the cluster chooses]")
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
    help="Address range of the cluster that the mirror must not connect to.",
)
def manifests(
    target: ClusterOptions,
    image: str,
    ca_bundle: Path | None,
    inside: tuple[str, ...],
    **options: Any,
) -> None:
    """Print the mirror's objects as YAML, for GitOps.

    Needs no cluster, and prints no secret. The StatefulSet refers to a Secret `pypi-mirror` with
    the keys root-password and secretfile (random, 32 bytes or more). `mirror up` creates it; with
    GitOps, create it with your own tool.

    \b
    mirror manifests --image registry.example/pypi-mirror:1 > mirror.yaml
    """
    from deploy.manifests.image_versions import has_0_1_modules
    from deploy.manifests.mirror_objects import render_objects
    from deploy.manifests.model import ClusterSettings

    settings = ClusterSettings(
        image=image,
        image_is_0_1=has_0_1_modules(image),
        namespace=target.namespace,
        ca_pem=read_ca_option(ca_bundle),
        cluster_cidrs=inside,
        **given_options(options),
    )
    terminal.yaml_documents(render_objects(settings))
