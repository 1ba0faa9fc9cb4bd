"""`mirror doctor`: why packages do not reach pods, and the least invasive remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import completion
from cli.collect_options import build_collect_options
from cli.doctor_watch import Look, watch
from cli.inputs import Checked, check_check, check_extension, check_readable_file
from cli.options import (
    DURATION,
    ENDPOINT,
    IMAGE,
    OUTPUT_FILE,
    RESOURCE,
    ClusterOptions,
    OutputFormat,
    cluster_options,
    output_option,
)
from cli.output import terminal
from cli.output.doctor_report import print_report
from deploy.doctor import run
from deploy.doctor.bundle import write_bundle
from deploy.doctor.explain import explain_check
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.findings.model import DoctorReport, Severity
from mirror.core.codec import dump, load
from mirror.core.errors import InputError
from mirror.core.progress import SILENT

if TYPE_CHECKING:
    from deploy.cluster.client import Cluster


@click.command()
@cluster_options("1m")
@click.option(
    "--category",
    "category_names",
    multiple=True,
    type=Checked(
        "category",
        check_extension("deploy.checks", "category", "mirror doctor --category {name}"),
        completion.list_categories,
    ),
    metavar="NAME",
    help="[default: all]",
)
@click.option(
    "--node", "nodes", multiple=True, type=RESOURCE, metavar="NAME", help="[default: all]"
)
@click.option(
    "--name",
    "names",
    multiple=True,
    type=ENDPOINT,
    metavar="HOST[:PORT]",
    help="Name that pods resolve.  [default: the upstream index]",
)
@click.option(
    "--image",
    type=IMAGE,
    metavar="REF",
    help="Image of the probe pods.  [default: the mirror's]",
)
@click.option(
    "--save",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Save the evidence, for `mirror doctor --from FILE` elsewhere.",
)
@click.option(
    "--from",
    "source",
    type=Checked("file", check_readable_file),
    metavar="FILE",
    help="Check saved evidence; needs no cluster.",
)
@click.option(
    "--explain",
    "explained",
    type=Checked("check", check_check, completion.list_checks),
    metavar="CHECK",
    help="Explain a check, such as dns.search-domains; needs no cluster.",
)
@click.option(
    "--bundle",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Write an archive for a bug report (.tar.gz), without secrets.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 for a finding of this severity or worse.",
)
@click.option(
    "--watch",
    "is_watching",
    is_flag=True,
    help="Look again and again, print only what changes, until Ctrl-C.",
)
@click.option(
    "--interval",
    type=DURATION,
    default="30s",
    show_default=True,
    metavar="DURATION",
    help="Pause between two looks of --watch.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also show the checks that passed.")
@output_option
def doctor(
    target: ClusterOptions,
    category_names: tuple[str, ...],
    nodes: tuple[str, ...],
    names: tuple[str, ...],
    image: str | None,
    save: Path | None,
    source: Path | None,
    explained: str | None,
    bundle: Path | None,
    fail_on: str,
    is_watching: bool,
    interval: int,
    verbose: bool,
    output: OutputFormat,
) -> None:
    """Find out why packages do not reach pods. Changes nothing.

    Checks the API and your rights, the nodes, DNS, IPv6, Calico, the mirror and the workloads. A
    pod on each node resolves the index with a static musl uv, glibc and busybox. Without an image
    for these pods, only the API is checked; the report lists what was left out.

    Exits with 1 if it finds something that makes pods fail, else with 0 (see --fail-on).

    \b
    mirror doctor                             the whole cluster
    mirror doctor --node ra --name index.example
    mirror doctor --category dns              one category; repeat it for several
    mirror doctor --bundle report.tar.gz      for a bug report, without secrets
    mirror doctor --save evidence.json        save the evidence, then anywhere:
    mirror doctor --from evidence.json        the same report, without a cluster
    mirror doctor --explain dns.egress        what a check means, and what to do
    mirror doctor --watch                     prints what changes, until Ctrl-C
    """
    if explained is not None:
        click.echo(explain_check(explained))
        return
    categories = run.load_categories(category_names)

    def observe(*, quietly: bool) -> tuple[Cluster, Evidence]:
        cluster = target.connect()
        options = build_collect_options(
            cluster, target, image=image, names=names, nodes=nodes, ask_mirror=True
        )
        with nullcontext(SILENT) if quietly else terminal.progress() as progress:
            return cluster, run.observe(cluster, categories, options, progress)

    def look(is_first: bool) -> Look:
        _, evidence = observe(quietly=not is_first)
        report = run.judge(evidence, categories)
        return Look(title=_title(evidence), taken=evidence.taken, report=report)

    if is_watching:
        _refuse_files({"--from": source, "--save": save, "--bundle": bundle})
        last = watch(look, interval, output)
        click.get_current_context().exit(1 if last and _fails(last, fail_on) else 0)
    cluster = None
    if source is not None:
        evidence = _read_evidence(source)
    else:
        cluster, evidence = observe(quietly=False)
    if save is not None:
        _write_evidence(save, evidence)
    report = run.judge(evidence, categories)
    if bundle is not None:
        with terminal.progress() as progress:
            write_bundle(bundle, evidence, report, cluster, target.namespace, progress)
    if output == "table":
        print_report(report, _title(evidence), every_fact=verbose)
        if bundle is not None:
            click.echo(f"\nwritten: {bundle} (check it before you share it)")
    else:
        terminal.document({**dump(report), "taken": evidence.taken}, output)
    click.get_current_context().exit(1 if _fails(report, fail_on) else 0)


def _refuse_files(files: Mapping[str, Path | None]) -> None:
    given = [name for name, path in files.items() if path is not None]
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be used with --watch",
            why="a file has one look at the cluster, --watch has many",
            next_step=f"mirror doctor {given[0]} FILE",
        )


def _fails(report: DoctorReport, fail_on: str) -> bool:
    order = [severity.value for severity in Severity]
    limit = order.index(fail_on) if fail_on in order else -1
    return any(order.index(finding.severity) <= limit for finding in report.findings)


def _title(evidence: Evidence) -> str:
    """Return a line that names the cluster, its version and its nodes."""
    parts = [evidence.context]
    if not isinstance(evidence.access, Unseen):
        parts.append(f"Kubernetes {evidence.access.version}")
    if not isinstance(evidence.nodes, Unseen):
        count = len(evidence.nodes)
        names = (node.distribution for node in evidence.nodes if node.distribution)
        distribution = {"microk8s": "MicroK8s"}.get(name := next(names, ""), name)
        kind = f"{distribution} " if distribution else ""
        parts.append(f"{count} {kind}node{'s' if count != 1 else ''}")
    return ", ".join(parts)


def _read_evidence(path: Path) -> Evidence:
    try:
        return load(Evidence, json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as evidence",
            why=str(error),
            next_step="give a file that `mirror doctor --save FILE` of this version wrote",
        ) from error


def _write_evidence(path: Path, evidence: Evidence) -> None:
    try:
        path.write_text(json.dumps(dump(evidence), indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written", why=str(error)) from error
