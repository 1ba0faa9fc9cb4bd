"""`mirror manifests`: the mirror's objects as YAML."""

from __future__ import annotations

import click

from cli.inputs import Checked, check_cidr, check_cluster_ip
from cli.options import IMAGE, ClusterOptions, MirrorOptions, cluster_options, mirror_options
from cli.output import terminal


@click.command()
@cluster_options("30s")
@click.option(
    "--image", required=True, type=IMAGE, metavar="REF", help="Image that the nodes can pull."
)
@mirror_options
@click.option(
    "--cluster-ip",
    type=Checked("address", check_cluster_ip),
    metavar="IPV4",
    help="Address of the Service.  [default: the cluster chooses]",
)
@click.option(
    "--inside",
    multiple=True,
    type=Checked("cidr", check_cidr),
    metavar="CIDR",
    help="Address range of the cluster that the mirror must not connect to.",
)
@click.option(
    "--monitoring",
    is_flag=True,
    help="Add a Grafana dashboard, alerts (PrometheusRule), and annotations for Prometheus.",
)
def manifests(
    target: ClusterOptions,
    image: str,
    settings: MirrorOptions,
    cluster_ip: str | None,
    inside: tuple[str, ...],
    monitoring: bool,
) -> None:
    """Print the mirror's objects as YAML, for GitOps.

    Needs no cluster, and prints no secret. The StatefulSet refers to a Secret `pypi-mirror` with
    the keys root-password and secretfile (random, 32 bytes or more). `mirror up` creates it; with
    GitOps, create it with your own tool.

    \b
    mirror manifests --image registry.example/pypi-mirror:1 > mirror.yaml
    mirror manifests --image registry.example/pypi-mirror:1 --monitoring
    """
    from deploy.manifests.image_versions import has_0_1_modules
    from deploy.manifests.mirror_objects import render_objects
    from deploy.manifests.model import ClusterSettings

    objects = render_objects(
        ClusterSettings(
            image=image,
            image_is_0_1=has_0_1_modules(image),
            namespace=target.namespace,
            ca_pem=settings.read_ca(),
            cluster_ip=cluster_ip,
            cluster_cidrs=inside,
            monitoring=monitoring,
            **settings.list_given(),
        )
    )
    terminal.yaml_documents(objects)
