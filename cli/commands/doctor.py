"""`mirror doctor`: why packages do not arrive in pods, and the smallest mend."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import click

from cli import show
from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from deploy import diagnose, record
from deploy.cluster.client import ApiRefusal, Cluster
from deploy.evidence.codec import dump, load
from deploy.evidence.collect import Look
from deploy.evidence.model import Evidence, Severity
from mirror.core.errors import InputError, RefusedError
from mirror.devpi import default_upstream
from mirror.probe.__main__ import place


@click.command()
@cluster_options(default_timeout=60)
@click.option("--category", "wanted", multiple=True, metavar="NAME", help="[default: all]")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="[default: all]")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Name that pods look for.  [default: the upstream index]",
)
@click.option("--image", metavar="REF", help="Image of the probe pods.  [default: the mirror's]")
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep what was seen, to be judged again elsewhere.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Judge a saved file; talks to no cluster.",
)
@output_option
def doctor(
    target: ClusterOptions,
    wanted: tuple[str, ...],
    nodes: tuple[str, ...],
    names: tuple[str, ...],
    image: str | None,
    save: Path | None,
    source: Path | None,
    output: OutputFormat,
) -> None:
    """Find out why packages do not arrive in pods. Changes nothing.

    A pod on each node looks for the index with a static musl uv, glibc and busybox. Without an
    image for these pods only the API is looked at, and the report says what was left out.

    Ends with 1 when something was found that makes pods fail, else with 0.

    \b
    mirror doctor                             the whole cluster
    mirror doctor --node ra --name index.example
    mirror doctor --save seen.json            for somebody else to look at:
    mirror doctor --from seen.json            the same report, no cluster needed
    """
    asked = diagnose.categories(wanted)
    if source is not None:
        evidence = _read(source)
    else:
        evidence = _observe(connect(target), target, asked, nodes, names, image)
    if save is not None:
        _write(save, evidence)
    report = diagnose.judge(evidence, asked)
    if output == "table":
        show.report(report)
    else:
        show.document({**show.plain(report), "taken": evidence.taken}, output)
    click.get_current_context().exit(1 if report.worst() is Severity.ERROR else 0)


def _observe(
    cluster: Cluster,
    target: ClusterOptions,
    asked: tuple[diagnose.Category, ...],
    nodes: tuple[str, ...],
    names: tuple[str, ...],
    image: str | None,
) -> Evidence:
    kept = _record(cluster, target.namespace)
    look = Look(
        namespace=target.namespace,
        image=image or diagnose.probe_image(cluster, target.namespace) or kept.image,
        nodes=nodes,
        names=tuple(map(_checked, names)) or (_index_host(kept.settings.get("upstream")),),
        mirror=f"{kept.cluster_ip}:{kept.port}" if kept.cluster_ip else None,
    )
    with show.progress() as progress:
        return diagnose.observe(cluster, asked, look, progress)


def _record(cluster: Cluster, namespace: str) -> record.Record:
    """What the last `mirror up` wrote down; nothing where it cannot be read."""
    try:
        return record.read(cluster, namespace)
    except (ApiRefusal, RefusedError):
        return record.Record()


def _index_host(upstream: str | None) -> str:
    """HOST[:PORT] of the index that the mirror mirrors, or would."""
    parts = urlsplit(upstream or default_upstream())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return parts.hostname or "" if port == 443 else f"{parts.hostname}:{port}"


def _checked(name: str) -> str:
    try:
        place(name)
    except ValueError as wrong:
        raise InputError(
            f"--name {name!r} is no HOST[:PORT]",
            why=str(wrong),
            next_step="give a host name such as index.example",
        ) from wrong
    return name


def _read(path: Path) -> Evidence:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as broken:
        raise InputError(
            f"{path} cannot be read as evidence",
            why=str(broken),
            next_step="give a file that `mirror doctor --save FILE` wrote",
        ) from broken
    return load(Evidence, told)


def _write(path: Path, evidence: Evidence) -> None:
    try:
        path.write_text(json.dumps(dump(evidence), indent=1) + "\n")
    except OSError as broken:
        raise InputError(f"{path} cannot be written", why=str(broken)) from broken
