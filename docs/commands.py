"""Write docs/commands.md, the page of all commands, from their help. `--check` only compares."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.commands.build_image import build_image
from cli.mirror import list_sections, mirror

_PAGE = Path(__file__).with_name("commands.md")
_INTRODUCTION = """\
# Commands

Written by `docs/commands.py` from the help of the programs: every command prints its part with
`--help`. As a plugin of kubectl, `mirror` is `kubectl mirror`. Exit codes: 0 done, 1 failed or
something was found, 2 wrong input, 3 the environment is not suitable, 4 timed out, 5 refused to
protect data, 130 interrupted. Some options [mean the same everywhere][common].

[common]: mirror.md#options-that-mean-the-same-everywhere
"""


def render_page() -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION]
    root = click.Context(mirror, info_name="mirror")
    for title, names in list_sections().items():
        parts.append(f"## {title}\n")
        for name in names:
            command = mirror.get_command(root, name)
            assert command is not None
            context = click.Context(command, info_name=name, parent=root)
            parts += _render_command(command, context)
    parts.append("## Build images\n")
    parts += _render_command(build_image, click.Context(build_image, info_name="build-image"))
    return "\n".join(parts)


def _render_command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"### {context.command_path}\n"
    pieces = command.collect_usage_pieces(context)
    usage = " ".join((context.command_path, *(each for each in pieces if each != "[OPTIONS]")))
    if usage != context.command_path:
        yield f"`{usage}`\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            examples = paragraph.removeprefix("\b").strip("\n")
            yield f"```sh\n{_comment_examples(examples)}\n```\n"
        else:
            yield f"{_escape(' '.join(paragraph.split()))}\n"
    rows = list(_list_options(command, context))
    if rows:
        yield "| option | |\n|---|---|"
        yield from (f"| {flags} | {text} |" for flags, text in rows)
        yield ""


def _comment_examples(examples: str) -> str:
    """Return examples whose explanations are comments of the shell."""
    return re.sub(r"^(\S.*?)(\s{2,})(\S.*)$", r"\1\2# \3", examples, flags=re.MULTILINE)


def _list_options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or record[0].endswith("--help"):
            continue
        flags, text = record
        yield f"`{flags}`".replace("|", "\\|"), _escape(text).replace("|", "\\|")


def _escape(text: str) -> str:
    """Return a text whose brackets are no links and whose angle brackets are no tags."""
    return text.replace("[", "\\[").replace("<", "&lt;")


def main() -> None:
    text = render_page()
    if "--check" not in sys.argv:
        _PAGE.write_text(text)
    elif not _PAGE.exists() or _PAGE.read_text() != text:
        sys.exit("docs/commands.md is out of date: python docs/commands.py")


if __name__ == "__main__":
    main()
