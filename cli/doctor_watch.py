"""`mirror doctor --watch`: look again and again, and print what changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cli.options import OutputFormat
from cli.output import terminal
from cli.output.doctor_report import print_changes, print_report, print_summary
from deploy.doctor.compare import compare_reports
from deploy.findings.model import DoctorReport
from mirror.core.codec import dump
from mirror.core.errors import MirrorError
from mirror.core.wait import pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One report, with the line that names the cluster."""

    title: str
    taken: str  # UTC, ISO 8601
    report: DoctorReport


def watch(
    look: Callable[[bool], Look], seconds: float, output: OutputFormat
) -> DoctorReport | None:
    """Print the first report, then only changes, until Ctrl-C; then the last verdict.

    ``look`` is told whether it is the first. Returns the last report, None if there was none. A
    failure is printed once, and the next look is tried all the same. As JSON or YAML, each report
    that differs is one document.
    """
    last: DoctorReport | None = None
    failure = ""
    try:
        while True:
            try:
                current = look(last is None)
            except MirrorError as error:
                if last is None:
                    raise
                if str(error) != failure:
                    terminal.err.print(f"{_now()} {error}", markup=False)
                failure = str(error)
            else:
                if failure:
                    terminal.err.print(f"{_now()} the cluster answers again")
                failure = ""
                _print_look(current, last, output)
                last = current.report
            pause(seconds)
    except KeyboardInterrupt:
        if last is not None and output == "table":
            terminal.out.print()
            print_summary(last)
    return last


def _print_look(current: Look, last: DoctorReport | None, output: OutputFormat) -> None:
    changes = compare_reports(last, current.report) if last else None
    if changes is not None and not changes:
        return
    if output != "table":
        terminal.document({**dump(current.report), "taken": current.taken}, output)
    elif changes is None:
        print_report(current.report, current.title)
    else:
        print_changes(changes, current.report, _now())


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
