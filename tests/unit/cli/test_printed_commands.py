"""Every command that the program prints is known to the program, or to kubectl.

The texts are read from the source: next steps of errors, remedies, and commands in backticks.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.mirror import mirror
from deploy.fix_registry import load_fixes
from tests.unit.cli.test_documented_commands import parse

ROOT = Path(__file__).parents[3]
FOLDERS = ("cli", "deploy", "images", "mirror")
MODULES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
PLACEHOLDER = "PLACEHOLDER"
KUBECTL_VERBS = {
    *("annotate", "apply", "create", "delete", "describe", "edit", "get", "label", "logs", "patch"),
    *("rollout", "scale", "set", "uncordon", "config", "auth", "cluster-info", "wait"),
}
_BACKTICKS = re.compile(r"`((?:mirror|build-image|kubectl) [^`]*)`")
_SEPARATORS = re.compile(r"; |: | && | \|\| | \| |,? or |, |\n| #| \(")
_START = re.compile(r"(?:sudo )?(?:mirror|build-image|kubectl) ")
# the rest of a sentence after a command
_PROSE = re.compile(
    r"\s(?:(?:and|removes|restarts|restores|says|shows|keeps|undoes|first|again)\b.*|instead$)"
)


def read_text(node: ast.AST) -> str | None:
    """Return a string of the source, with a word for each value that is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER
            for part in node.values
        )
    return None


def list_texts(source: str) -> Iterator[tuple[str, bool]]:
    """Yield the strings of a module without docstrings, and whether each is a next step."""
    tree = ast.parse(source)
    skipped, next_steps = set[int](), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))  # a docstring
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
        elif isinstance(node, ast.keyword) and node.arg in {"next_step", "command"}:
            next_steps |= {id(child) for child in ast.walk(node.value)}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Remedy":
            next_steps |= {id(child) for each in node.args[2:] for child in ast.walk(each)}
    for node in ast.walk(tree):
        if id(node) not in skipped and (text := read_text(node)):
            yield text, id(node) in next_steps


def list_commands(source: str) -> Iterator[str]:
    """Yield the commands in the strings of a module."""
    for text, is_next_step in list_texts(source):
        yield from _BACKTICKS.findall(text)
        for segment in _SEPARATORS.split(_BACKTICKS.sub("", text)):
            if not _START.match(segment):
                continue
            line = _PROSE.sub("", segment.removeprefix("sudo ")).rstrip(" .)")
            if is_next_step or is_ours(line):
                yield line


def is_ours(line: str) -> bool:
    """Whether a line begins with a command of `mirror`; a text may be about the mirror."""
    words = line.split()
    return words[0] == "mirror" and bool(
        words[1:] and mirror.get_command(click.Context(mirror), words[1])
    )


def check_line(line: str) -> None:
    """Raise UsageError or ValueError for a command that would not be understood."""
    if line.startswith("kubectl "):
        words = [word for word in shlex.split(line)[1:] if not word.startswith("-")]
        verbs = KUBECTL_VERBS.intersection(words[:2])  # a namespace may come first
        if not verbs:
            raise ValueError(f"no verb of kubectl: {line}")
        return
    program, *rest = line.split()
    if program == "mirror" and (not rest or rest[0] in {"--help", "…", PLACEHOLDER}):
        return
    # options that are put in when it is printed are checked where they come from
    line = " ".join(word for word in line.split(" ") if PLACEHOLDER not in word or word[0] != "-")
    try:
        name, arguments = parse(line)
    except click.BadOptionUsage:
        name, arguments = parse(f"{line} X")  # the text names an option alone
    if name in {"fix", "rollback"}:
        unknown = {*arguments} - {*load_fixes(), "all", "NAME"}
        if any(PLACEHOLDER not in word for word in unknown):
            raise ValueError(f"no such fix: {line}")


COMMANDS = sorted(
    {
        (str(path.relative_to(ROOT)), line)
        for path in MODULES
        for line in list_commands(path.read_text())
    }
)


@pytest.mark.parametrize(("module", "line"), COMMANDS)
def test_a_printed_command_is_known(module: str, line: str) -> None:
    try:
        check_line(line)
    except (click.UsageError, ValueError) as wrong:
        pytest.fail(f"{module}: `{line}`: {wrong}")


def test_finds_most_commands() -> None:
    lines = {line for _, line in COMMANDS}
    assert len(lines) > 130
    assert lines >= {
        "mirror attach PLACEHOLDER -n PLACEHOLDER --ndots --no-index",
        "mirror env --publish PLACEHOLDER",
        "mirror fix --no-keep",
        "mirror fix pod-sysctl host-sysctl",
        "kubectl get --raw '/readyz?verbose'",
    }


@pytest.mark.parametrize(
    "text",
    [
        'f(next_step="mirror nonsense")',
        'f(next_step="start it: mirror up --nonsense")',
        'f("see `mirror fix dns --nonsense`")',
        'f(next_step=f"run {x} first, or mirror fix nonsense")',
        'Remedy("text", "cluster", "kubectl nonsense configmaps")',
        'Remedy("text", "cluster", f"mirror doctor --nonsense {node}")',
        'Remedy("text", "cluster", "kubectl get \'configmaps")',
    ],
)
def test_a_wrong_command_is_found(text: str) -> None:
    (line,) = list_commands(text)
    with pytest.raises((click.UsageError, ValueError)):
        check_line(line)


def test_a_text_about_the_mirror_is_no_command() -> None:
    assert list(list_commands('f("mirror on this machine", why="mirror images are kept")')) == []
