"""`mirror verify`: what the mirror keeps, against its hashes."""

from __future__ import annotations

import click

from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.core.codec import dump
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.store.verify import VerifyReport


@click.command()
@local_option
@cluster_options(default_timeout=3600)
@click.option("--repair", is_flag=True, help="Mend what is wrong; uploads are never deleted.")
@output_option
def verify(local: bool, target: ClusterOptions, repair: bool, output: OutputFormat) -> None:
    """Hash every kept file and compare.

    Runs beside the data while the mirror serves. With --repair a cached file that is wrong is
    removed and fetched again; an upload that is wrong is put aside (folder `damaged` of the
    volume), so that it is no longer served, and named with what brings it back.

    Ends with 1 where something is wrong, or still wrong after --repair.

    \b
    mirror verify
    mirror verify --repair
    mirror verify --local -o json
    """
    with terminal.progress() as progress:
        if local:
            found = _local(repair, progress, Deadline.after(target.timeout))
        else:
            from cli.connect import connect
            from deploy.lifecycle.verify import verify_volume as look

            found = look(connect(target), target.namespace, repair=repair, progress=progress)
    if output != "table":
        terminal.document({**dump(found), "sound": found.is_sound}, output)
    else:
        _show(found, repair)
    click.get_current_context().exit(0 if found.is_sound else 1)


def _local(repair: bool, progress: Progress, deadline: Deadline) -> VerifyReport:
    from mirror.store.verify import verify_files as look

    here = LocalMirror()
    progress.step(f"verify what is kept in {here.data_dir}")
    running = here.read_status(deadline).state == "running"
    root = here.require_endpoint(deadline).root_url if running else None
    return look(here.data_dir, repair=repair, root=root, on_progress=progress.count)


def _show(found: VerifyReport, repair: bool) -> None:
    if found.flaws:
        rows = [
            (flaw.state, "upload" if flaw.private else "cached", flaw.outcome, flaw.file)
            for flaw in found.flaws
        ]
        terminal.table(("state", "", "now", "file"), rows)
        click.echo()
    open_ = [flaw for flaw in found.flaws if not flaw.is_repaired]
    unknown = f"; {found.unknown} have no hash to compare with" if found.unknown else ""
    click.echo(
        f"{found.files} files, {found.size / 1e6:.1f} MB in {found.seconds:.1f} s: "
        f"{len(found.flaws)} wrong, {len(found.flaws) - len(open_)} mended{unknown}"
    )
    for step in dict.fromkeys(flaw.next_step for flaw in open_ if flaw.next_step):
        click.echo(f"next: {step}")
    if open_ and not repair and any(not flaw.private for flaw in open_):
        click.echo("next: mirror verify --repair")
