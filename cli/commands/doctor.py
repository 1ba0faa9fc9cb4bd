"""`mirror doctor`: why packages do not arrive in pods, and the smallest mend."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import click

from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from cli.output import terminal
from cli.output.doctor_report import report as show_report
from deploy.cluster.client import ApiError, Cluster
from deploy.doctor import run
from deploy.doctor.bundle import write_bundle as write_bundle
from deploy.evidence.collect import CollectOptions
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.findings.model import DoctorReport, Severity
from deploy.lifecycle import record
from mirror.core.codec import dump, load
from mirror.core.errors import InputError, RefusedError
from mirror.devpi import read_default_upstream
from mirror.probe.__main__ import parse_endpoint


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
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what a bug report needs (.tar.gz); secrets are left out.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="End with 1 for findings of this severity or a worse one.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the facts that hold, too.")
@output_option
def doctor(
    target: ClusterOptions,
    wanted: tuple[str, ...],
    nodes: tuple[str, ...],
    names: tuple[str, ...],
    image: str | None,
    save: Path | None,
    source: Path | None,
    bundle: Path | None,
    fail_on: str,
    verbose: bool,
    output: OutputFormat,
) -> None:
    """Find out why packages do not arrive in pods. Changes nothing.

    Looks at the API and its rights, the nodes, DNS, IPv6, Calico, the mirror and the workloads. A
    pod on each node looks for the index with a static musl uv, glibc and busybox. Without an image
    for these pods only the API is looked at; whatever was left out is said.

    Ends with 1 when something was found that makes pods fail, else with 0 (see --fail-on).

    \b
    mirror doctor                             the whole cluster
    mirror doctor --node ra --name index.example
    mirror doctor --category dns              one category; several, when given again
    mirror doctor --bundle report.tar.gz      for a bug report, without secrets
    mirror doctor --save seen.json            for somebody else to look at:
    mirror doctor --from seen.json            the same report, no cluster needed
    """
    asked = run.load_categories(wanted)
    cluster = connect(target) if source is None else None
    if cluster is None:
        assert source is not None
        evidence = _read(source)
    else:
        evidence = _observe(cluster, target, asked, nodes, names, image)
    if save is not None:
        _write(save, evidence)
    report = run.judge(evidence, asked)
    if bundle is not None:
        with terminal.progress() as progress:
            write_bundle(bundle, evidence, report, cluster, target.namespace, progress)
    if output == "table":
        show_report(report, _title(evidence), every_fact=verbose)
        if bundle is not None:
            click.echo(f"\nwritten: {bundle} (look through it before you give it away)")
    else:
        terminal.document({**dump(report), "taken": evidence.taken}, output)
    click.get_current_context().exit(1 if _fails(report, fail_on) else 0)


def _fails(report: DoctorReport, fail_on: str) -> bool:
    order = [one.value for one in Severity]
    limit = order.index(fail_on) if fail_on in order else -1
    return any(order.index(one.severity) <= limit for one in report.findings)


def _title(evidence: Evidence) -> str:
    """Which cluster this was, in a line."""
    words = [evidence.context]
    if not isinstance(evidence.access, Unseen):
        words.append(f"Kubernetes {evidence.access.version}")
    if not isinstance(evidence.nodes, Unseen):
        count = len(evidence.nodes)
        known = {"microk8s": "MicroK8s "}
        kind = next((one.distribution for one in evidence.nodes if one.distribution), "")
        kind = known.get(kind, f"{kind} " if kind else "")
        words.append(f"{count} {kind}node{'s' if count != 1 else ''}")
    return ", ".join(words)


def _observe(
    cluster: Cluster,
    target: ClusterOptions,
    asked: tuple[run.CheckCategory, ...],
    nodes: tuple[str, ...],
    names: tuple[str, ...],
    image: str | None,
) -> Evidence:
    kept = _record(cluster, target.namespace)
    look = CollectOptions(
        namespace=target.namespace,
        image=image or run.find_probe_image(cluster, target.namespace) or kept.image,
        nodes=nodes,
        names=tuple(map(_checked, names)) or (_index_host(kept.settings.get("upstream")),),
        mirror=f"{kept.cluster_ip}:{kept.port}" if kept.cluster_ip else None,
    )
    with terminal.progress() as progress:
        return run.observe(cluster, asked, look, progress)


def _record(cluster: Cluster, namespace: str) -> record.MirrorRecord:
    """What the last `mirror up` wrote down; nothing where it cannot be read."""
    try:
        return record.read(cluster, namespace)
    except (ApiError, RefusedError):
        return record.MirrorRecord()


def _index_host(upstream: str | None) -> str:
    """HOST[:PORT] of the index that the mirror mirrors, or would."""
    parts = urlsplit(upstream or read_default_upstream())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return parts.hostname or "" if port == 443 else f"{parts.hostname}:{port}"


def _checked(name: str) -> str:
    try:
        parse_endpoint(name)
    except ValueError as wrong:
        raise InputError(
            f"--name {name!r} is no HOST[:PORT]",
            why=str(wrong),
            next_step="give a host name such as index.example",
        ) from wrong
    return name


def _read(path: Path) -> Evidence:
    try:
        return load(Evidence, json.loads(path.read_bytes()))
    except (OSError, ValueError) as broken:
        raise InputError(
            f"{path} cannot be read as evidence",
            why=str(broken),
            next_step="give a file that `mirror doctor --save FILE` of this version wrote",
        ) from broken


def _write(path: Path, evidence: Evidence) -> None:
    try:
        path.write_text(json.dumps(dump(evidence), indent=1) + "\n")
    except OSError as broken:
        raise InputError(f"{path} cannot be written", why=str(broken)) from broken
