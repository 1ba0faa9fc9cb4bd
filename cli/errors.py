"""Errors as text and exit codes; Ctrl-C ends cleanly."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from mirror.core.errors import MirrorError

INTERRUPTED = 130


def run(command: click.Command, prog_name: str) -> NoReturn:
    """Run a command and exit with its code. MIRROR_TRACEBACK=1 prints tracebacks of bugs."""
    try:
        code = command.main(prog_name=prog_name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except MirrorError as error:
        _print_error(error)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as usage:
        usage.show()
        sys.exit(usage.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; run the same command again to continue", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # the reader (head, less) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as bug:  # noqa: BLE001 - last resort
        if os.environ.get("MIRROR_TRACEBACK"):
            traceback.print_exc()
        _print_error(
            MirrorError(
                f"this is a bug in {prog_name}: {type(bug).__name__}: {bug}",
                next_step="run again with MIRROR_TRACEBACK=1 and report what it prints",
            )
        )
        sys.exit(1)


def _print_error(error: MirrorError) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + error.what, err=True)
    if error.why:
        for number, line in enumerate(error.why.strip().splitlines()):
            click.echo(("  why: " if number == 0 else "       ") + line, err=True)
    if error.next_step:
        click.echo(click.style("  next: ", bold=True) + error.next_step, err=True)
