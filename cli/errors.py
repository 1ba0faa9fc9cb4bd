"""Errors as text and exit codes; Ctrl-C ends cleanly."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from shlex import quote
from textwrap import wrap
from typing import NoReturn

import click

from cli.called_name import use_called_name
from cli.streams import prepare_streams
from mirror.core.credentials import hide_credentials
from mirror.core.errors import InputError, MirrorError, UnfitError

INTERRUPTED = 130


def run(command: click.Command, prog_name: str) -> NoReturn:
    """Run a command and exit with its code. MIRROR_TRACEBACK=1 prints tracebacks of bugs."""
    prepare_streams()
    try:
        code = command.main(prog_name=prog_name, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except MirrorError as error:
        print_error(error, prog_name)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as usage:
        print_error(describe_usage_error(usage, prog_name), prog_name)
        sys.exit(usage.exit_code)
    except click.ClickException as error:
        print_error(InputError(error.format_message(), next_step=f"{prog_name} --help"), prog_name)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as end:
        # click turns Ctrl-C into Abort too, and keeps it as the cause or the context
        if isinstance(end, click.Abort) and not (end.__cause__ or end.__context__):
            click.echo("not confirmed: nothing more was changed", err=True)
        else:
            click.echo("\ninterrupted; run the same command again to continue", err=True)
        sys.exit(INTERRUPTED)
    except OSError as error:
        _show_traceback()
        print_error(describe_os_error(error), prog_name)
        _discard_output()
        sys.exit(UnfitError.exit_code)
    except Exception as bug:  # noqa: BLE001 - last resort
        _show_traceback()
        print_error(
            MirrorError(
                f"this is a bug in {prog_name}: {type(bug).__name__}: {bug}",
                next_step="run again with MIRROR_TRACEBACK=1 and report what it prints",
            ),
            prog_name,
        )
        sys.exit(1)


def use_color() -> bool:
    """Whether colors are wanted: see no-color.org; a dumb terminal prints the codes as text."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def describe_usage_error(usage: click.UsageError, prog_name: str) -> InputError:
    """Return the error with its parts: what is wrong, the known names or the usage, the help."""
    path = usage.ctx.command_path if usage.ctx else prog_name
    message = " ".join(usage.format_message().split()).rstrip(".")
    what, _, detail = message.partition(": ")
    if isinstance(usage, click.MissingParameter):
        what = what.partition(". ")[0]
    possibilities = getattr(usage, "possibilities", None)
    if isinstance(usage, click.NoSuchOption):
        what = f"no such option: {usage.option_name}"
        detail = f"did you mean {' or '.join(possibilities)}?" if possibilities else ""
    usage_line = usage.ctx.get_usage().replace("Usage:", "usage:") if usage.ctx else ""
    return InputError(
        what[:1].lower() + what[1:],
        why=detail or " ".join(usage_line.split()),
        next_step=f"{path} --help",
    )


def describe_os_error(error: OSError) -> UnfitError:
    """Return what the operating system refused, with the path and what to do about it."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    quoted = quote(path)
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        next_step = f"free some space: df -h {quote(str(Path(path).parent)) if path else '.'}"
    elif not path:
        next_step = "run again with MIRROR_TRACEBACK=1 to see where"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        next_step = f"see who may use it: namei -l {quoted}"
    elif error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
        next_step = f"move it away: mv {quoted} {quote(path + '.old')}"
    elif error.errno == errno.ENOENT:
        next_step = f"see what is there: ls -la {quote(str(Path(path).parent))}"
    else:
        next_step = f"see what is there: ls -ld {quoted}"
    what = f"cannot use {path}" if path else "the operating system refused a request"
    return UnfitError(what, why=reason, next_step=next_step)


def print_error(error: MirrorError, prog_name: str) -> None:
    """Print what, why and the next step to stderr, with commands as this program was called.

    A password in a URL, which a user may have passed, is not shown.
    """
    color = None if use_color() else False

    def show(text: str) -> str:
        return hide_credentials(use_called_name(text, prog_name))

    what = "\n       ".join(_wrap(show(error.what), indent=7))
    click.echo(click.style("error: ", fg="red", bold=True) + what, err=True, color=color)
    why = show(error.why).strip().splitlines()
    reasons = [part for line in why for part in _wrap(line, indent=7)]
    for number, line in enumerate(reasons):
        click.echo(("  why: " if number == 0 else "       ") + line, err=True, color=color)
    if error.next_step:  # not wrapped: it is copied
        next_step = click.style("  next: ", bold=True) + show(error.next_step)
        click.echo(next_step, err=True, color=color)


def _wrap(text: str, *, indent: int) -> list[str]:
    """Return the text in lines that fit a terminal; one line for programs."""
    if not sys.stderr.isatty():
        return [text]
    width = max(shutil.get_terminal_size().columns - indent, 40)
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]


def _discard_output() -> None:
    """Point stdout to nowhere, so that Python does not fail again when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_traceback() -> None:
    if os.environ.get("MIRROR_TRACEBACK"):
        traceback.print_exc()
