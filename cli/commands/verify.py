"""`mirror verify`: compare every stored file with its hash."""

from __future__ import annotations

import click

from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.core.codec import dump
from mirror.core.errors import UnfitError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.store.verify import VerifyReport, verify_files


@click.command()
@local_option
@cluster_options("1h")
@click.option("--repair", is_flag=True, help="Repair what is wrong; never deletes an upload.")
@output_option
def verify(local: bool, target: ClusterOptions, repair: bool, output: OutputFormat) -> None:
    """Compare every stored file with its hash.

    Runs beside the data while the mirror serves. With --repair, a damaged cached file is removed
    and fetched again. A damaged upload is moved to the folder `damaged` of the volume, so that it
    is no longer served; the output says how to bring it back.

    Exits with 1 if something is wrong, or still wrong after --repair.

    \b
    mirror verify
    mirror verify --repair
    mirror verify --local -o json
    """
    with terminal.progress() as progress:
        if local:
            report = _verify_local(repair, progress, Deadline.after(target.timeout))
        else:
            from deploy.lifecycle.verify import verify_volume

            cluster = target.connect()
            report = verify_volume(cluster, target.namespace, repair=repair, progress=progress)
    if output != "table":
        terminal.document({**dump(report), "sound": report.is_sound}, output)
    else:
        _print_report(report, repair)
    click.get_current_context().exit(0 if report.is_sound else 1)


def _verify_local(repair: bool, progress: Progress, deadline: Deadline) -> VerifyReport:
    mirror = LocalMirror()
    if not mirror.paths.data_dir.is_dir():
        raise UnfitError(
            "there is no mirror on this machine",
            why=f"{mirror.paths.data_dir} does not exist",
            next_step="mirror up --local",
        )
    progress.step(f"verify the files in {mirror.paths.data_dir}")
    running = mirror.read_status(deadline).state == "running"
    root = mirror.require_endpoint(deadline).root_url if running else None
    return verify_files(mirror.paths.data_dir, repair=repair, root=root, on_progress=progress.count)


def _print_report(report: VerifyReport, repair: bool) -> None:
    if report.flaws:
        rows = [
            (flaw.state, "upload" if flaw.private else "cached", flaw.outcome, flaw.file)
            for flaw in report.flaws
        ]
        terminal.table(("state", "", "now", "file"), rows)
        click.echo()
    unrepaired = [flaw for flaw in report.flaws if not flaw.is_repaired]
    repaired = len(report.flaws) - len(unrepaired)
    unknown = f"; {report.unknown} have no hash to compare with" if report.unknown else ""
    click.echo(
        f"{report.files} files, {report.size / 1e6:.1f} MB in {report.seconds:.1f} s: "
        f"{len(report.flaws)} wrong, {repaired} repaired{unknown}"
    )
    for step in dict.fromkeys(flaw.next_step for flaw in unrepaired if flaw.next_step):
        click.echo(f"next: {step}")
    if unrepaired and not repair and any(not flaw.private for flaw in unrepaired):
        click.echo("next: mirror verify --repair")
