"""`mirror manifests`: the mirror's objects as YAML, as a kustomize base or a Helm chart."""

from __future__ import annotations

from pathlib import Path

import click

from cli.inputs import Checked, check_cidr, check_cluster_ip, check_output_folder
from cli.options import IMAGE, ClusterOptions, MirrorOptions, cluster_options, mirror_options
from cli.output import terminal
from mirror.core.errors import InputError


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
@click.option(
    "--kustomize",
    type=Checked("folder", check_output_folder),
    metavar="DIR",
    help="Write them as a kustomize base into this folder.",
)
@click.option(
    "--helm",
    type=Checked("folder", check_output_folder),
    metavar="DIR",
    help="Write them as a Helm chart; the options are defaults of its values.",
)
def manifests(
    target: ClusterOptions,
    image: str,
    settings: MirrorOptions,
    cluster_ip: str | None,
    inside: tuple[str, ...],
    monitoring: bool,
    kustomize: Path | None,
    helm: Path | None,
) -> None:
    """Print the mirror's objects as YAML, for GitOps.

    Needs no cluster, and prints no secret. The StatefulSet refers to a Secret `pypi-mirror` with
    the keys root-password and secretfile (random, 32 bytes or more). `mirror up` creates it; with
    GitOps, create it with your own tool.

    \b
    mirror manifests --image registry.example/pypi-mirror:1 > mirror.yaml
    mirror manifests --image registry.example/pypi-mirror:1 --monitoring
    mirror manifests --image registry.example/pypi-mirror:1 --kustomize base
    mirror manifests --image registry.example/pypi-mirror:1 --helm chart
    """
    if kustomize and helm and kustomize.resolve() == helm.resolve():
        raise InputError(
            "--kustomize and --helm cannot write the same folder",
            why=f"both name {helm}",
            next_step="name two folders",
        )
    from cli.output.folder import write_folder
    from deploy.manifests.helm_chart import render_chart
    from deploy.manifests.image_versions import has_0_1_modules
    from deploy.manifests.kustomize import render_base
    from deploy.manifests.mirror_objects import render_objects
    from deploy.manifests.model import ClusterSettings

    cluster_settings = ClusterSettings(
        image=image,
        image_is_0_1=has_0_1_modules(image),
        namespace=target.namespace,
        ca_pem=settings.read_ca(),
        cluster_ip=cluster_ip,
        cluster_cidrs=inside,
        monitoring=monitoring,
        **settings.list_given(),
    )
    objects = render_objects(cluster_settings)
    if not kustomize and not helm:
        terminal.yaml_documents(objects)
    written = write_folder(kustomize, render_base(objects)) if kustomize else []
    written += write_folder(helm, render_chart(cluster_settings)) if helm else []
    for path in written:
        click.echo(path)
