"""Every command that a page shows is known to the program, with all its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.commands.build_image import build_image
from cli.mirror import mirror
from deploy.doctor.run import load_categories
from deploy.fix_registry import load_fixes

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_START = re.compile(r"(?:^|\$\(|&& |; |sudo )(?:\.venv/bin/)?(mirror|build-image)(?=\s)")
# where a command ends in a line: a comment, a shell operator, the end of a substitution
_END = re.compile(r"\s#|\s{2,}\S|&&|[|;](?=\s)|\s>|\)\"|\)$|,\s|:\s")


def commands(page: str) -> Iterator[str]:
    """Yield the command lines in code spans and code blocks, without trailing comments."""
    spans = _SPAN.findall(_FENCE.sub("", page))
    blocks = [line.strip() for block in _FENCE.findall(page) for line in block.splitlines()[1:-1]]
    blocks += [line.strip() for line in page.splitlines() if line.startswith("    ")]
    for line in (*spans, *blocks):
        found = _START.search(f"{line} ")
        if found:
            rest = line[found.start(1) :]
            end = _END.search(rest)
            line = (rest[: end.start()] if end else rest).strip()
            if " " in line and line.split()[1] != "--version":
                yield line


def list_commands(page: Path) -> list[str]:
    return list(dict.fromkeys(commands(page.read_text())))


def words(line: str) -> list[str]:
    """Return a synopsis as words to type: [OPTION] is given, of A|B the first, dots are omitted."""
    plain = re.sub(r"[\[\]…]", "", line.replace("...", ""))
    return [re.sub(r"\|.*", "", word) for word in shlex.split(plain) if word not in {"\\", "…"}]


def parse(line: str) -> tuple[str, list[str]]:
    """Return the subcommand and its arguments. Raises UsageError for unknown ones."""
    program, *rest = words(line)
    if program == "build-image":
        command: click.Command = build_image
        name = program
    else:
        name, *rest = rest
        found = mirror.get_command(click.Context(mirror), name)
        if found is None:
            raise click.UsageError(f"no command {name}")
        command = found
    given = getattr(command, "words", list)(rest)
    context = click.Context(command)
    values, rest, _ = command.make_parser(context).parse_args(given)
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            value = values.get(parameter.name or "")
            given = value if isinstance(value, list | tuple) else [value]
            rest += [each for each in given if isinstance(each, str)]  # else a mark of click's
    return name, rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_known(page: Path) -> None:
    for line in list_commands(page):
        try:
            name, arguments = parse(line)
        except click.UsageError as wrong:
            pytest.fail(f"{page.name}: `{line}`: {wrong.format_message()}")
        if name in {"fix", "rollback"}:
            wrong_names = {*arguments} - {*load_fixes(), "all", "NAME", "FIX"}
            assert not wrong_names, f"{page.name}: `{line}`"
        if name == "doctor" and "--category" in line:
            chosen = line.partition("--category")[2].split()[0]
            assert chosen in {category.name for category in load_categories()} | {"NAME"}, line


def test_the_pages_have_commands() -> None:
    """The search above finds most commands of the pages."""
    seen = {parse(line)[0] for page in PAGES for line in list_commands(page)}
    assert seen >= {"up", "status", "env", "warm", "fix", "rollback", "doctor", "build-image"}
    assert sum(len(list_commands(page)) for page in PAGES) > 100


@pytest.mark.parametrize(
    "line",
    ["mirror nonsense", "mirror fix dns --nonsense", "build-image PATH --nonsense"],
)
def test_an_unknown_command_is_reported(line: str) -> None:
    (found,) = commands(f"try `{line}` here")
    with pytest.raises(click.UsageError):
        parse(found)


def test_a_comment_is_no_argument() -> None:
    text = "    mirror fix dns --dry-run   the plan\n\n    sudo mirror status  # how it is\n"
    assert list(commands(text)) == ["mirror fix dns --dry-run", "mirror status"]


def test_tests_named_in_the_docs_exist() -> None:
    named = {
        name for page in PAGES for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text())
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert named
