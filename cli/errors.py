"""The edge of the program: errors become text and exit codes, Ctrl-C ends cleanly."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from mirror.core.errors import MirrorError

INTERRUPTED = 130


def run(command: click.Command, prog_name: str) -> NoReturn:
    """Run a command to its exit code; tracebacks are for faults of our own, on request."""
    try:
        code = command.main(prog_name=prog_name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except MirrorError as error:
        _show(error)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as usage:
        usage.show()
        sys.exit(usage.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # the reader (head, less) has gone; nothing is left to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as bug:  # noqa: BLE001 - the last line of defence
        if os.environ.get("MIRROR_TRACEBACK"):
            traceback.print_exc()
        _show(
            MirrorError(
                f"this is a fault of {prog_name} itself: {type(bug).__name__}: {bug}",
                next_step="run again with MIRROR_TRACEBACK=1 and report what it prints",
            )
        )
        sys.exit(1)


def _show(error: MirrorError) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + error.what, err=True)
    if error.why:
        for number, line in enumerate(error.why.strip().splitlines()):
            click.echo(("  why: " if number == 0 else "       ") + line, err=True)
    if error.next_step:
        click.echo(click.style("  next: ", bold=True) + error.next_step, err=True)
