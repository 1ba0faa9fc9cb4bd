"""Read shell commands with the grammar of bash (tree-sitter), without running anything."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from tree_sitter import Language, Node, Parser
from tree_sitter_bash import language

# `# a comment` in back quotes: how Dockerfiles comment continued lines
_QUOTED_COMMENT = re.compile(r"`\s*#[^`]*`")
_PLAIN = {"word", "string", "raw_string", "number", "concatenation", "string_content"}
_SHELLS = {"sh", "bash", "dash", "ash", "/bin/sh", "/bin/bash"}
_PREFIXES = {"sudo", "exec", "env", "command", "time", "nice", "eatmydata"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCommand:
    """A simple command in a script.

    ``words`` have their quotes removed and known variables replaced; ``unresolved`` are the words
    with a part that only a shell can tell. ``assignments`` stand before the command. ``line``
    counts from 0. ``is_filter`` is true if another command writes to it, ``is_conditional`` if it
    is a branch of an `if` or a `case`.
    """

    words: tuple[str, ...]
    assignments: Mapping[str, str]
    unresolved: tuple[str, ...]
    text: str
    line: int
    is_filter: bool
    is_conditional: bool


@cache
def _parser() -> Parser:
    return Parser(Language(language()))


def split_plain_command(text: str) -> tuple[str, ...] | None:
    """Return the argv of a command that needs no shell, None for any other text."""
    stripped = text.strip()
    root = _parser().parse(stripped.encode()).root_node
    if root.has_error or root.named_child_count != 1:
        return None
    command = root.named_children[0]
    if command.type != "command" or len(stripped.encode()) != command.end_byte:
        return None
    if any(not _is_plain(child) for child in command.named_children):
        return None
    try:
        words = shlex.split(stripped)
    except ValueError:
        return None
    if words[:1] == ["exec"]:
        words = words[1:]
    return tuple(words) or None


def _is_plain(node: Node) -> bool:
    """Whether a word is the same text for a shell, apart from its quotes."""
    if node.type == "command_name":
        return all(_is_plain(child) for child in node.named_children)
    if node.type not in _PLAIN:
        return False
    text = (node.text or b"").decode(errors="replace")
    if node.type == "word" and re.search(r"[*?~]|\[.*\]|\{.*,.*\}", text):
        return False
    return all(_is_plain(child) for child in node.named_children)


def list_commands(script: str, variables: Mapping[str, str]) -> Iterator[ShellCommand]:
    """Yield the simple commands of a script in their order, also those in `sh -c '…'`."""
    source = _QUOTED_COMMENT.sub(lambda match: " " * len(match[0]), script).encode()
    known = dict(variables)
    for node in _walk(_parser().parse(source).root_node):
        if node.type == "variable_assignment" and (assigned := _read_assignment(node, known)):
            if node.parent is not None and node.parent.type != "command":
                known[assigned[0]] = assigned[1]
        elif node.type == "command":
            command = _read_command(node, known)
            if command is None:
                continue
            inner = _inner_script(command.words)
            if inner is None:
                yield command
            else:
                yield from list_commands(inner, known)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.named_children:
        if node.type == "command" and child.type != "command_substitution":
            continue  # the words of a command are read by _read_command
        yield from _walk(child)


def _read_command(node: Node, variables: Mapping[str, str]) -> ShellCommand | None:
    words: list[str] = []
    unresolved: list[str] = []
    assignments: dict[str, str] = {}
    for child in node.named_children:
        if child.type == "variable_assignment":
            if assigned := _read_assignment(child, variables):
                assignments[assigned[0]] = assigned[1]
            continue
        if child.type in ("herestring_redirect", "file_redirect", "comment"):
            continue
        value = _read_word(child, variables)
        if value is None:
            unresolved.append(_text(child))
        elif child.type in ("simple_expansion", "expansion"):
            words += value.split()  # a shell splits the value of an unquoted variable
        else:
            words.append(value)
    while words and words[0].rpartition("/")[2] in _PREFIXES:
        words = words[1:]
        while words and (words[0].startswith("-") or re.match(r"[A-Za-z_]\w*=", words[0])):
            name, equals, value = words[0].partition("=")
            if equals and not name.startswith("-"):
                assignments[name] = value
            words = words[1:]
    if not words and not unresolved:
        return None
    return ShellCommand(
        words=tuple(words),
        assignments=assignments,
        unresolved=tuple(unresolved),
        text=_text(node),
        line=node.start_point[0],
        is_filter=node.parent is not None
        and node.parent.type == "pipeline"
        and node.parent.named_children[0] != node,
        is_conditional=_is_in_branch(node),
    )


def _is_in_branch(node: Node) -> bool:
    """Whether a node is in a branch of an `if` or a `case`, not in its condition."""
    child, parent = node, node.parent
    while parent is not None:
        if parent.type in ("if_statement", "case_item", "elif_clause", "else_clause"):
            condition = parent.child_by_field_name("condition")
            if parent.type != "if_statement" or condition is None or child != condition:
                return True
        child, parent = parent, parent.parent
    return False


def _read_assignment(node: Node, variables: Mapping[str, str]) -> tuple[str, str] | None:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None:
        return None
    text = "" if value is None else _read_word(value, variables)
    return None if text is None else (_text(name), text)


def _read_word(node: Node, variables: Mapping[str, str]) -> str | None:
    """Return a word as a shell would pass it on, None if a part of it is unknown."""
    text = _text(node)
    match node.type:
        case "word" | "number" | "string_content":
            return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
        case "raw_string":
            return text[1:-1]
        case "simple_expansion" | "expansion":
            return _expand(text, variables)
        case "command_name" | "string" | "concatenation":
            if node.type == "string" and not node.named_children:
                return text[1:-1]
            parts = [_read_word(child, variables) for child in node.named_children]
            known = [part for part in parts if part is not None]
            return "".join(known) if len(known) == len(parts) else None
    return None


def _expand(text: str, variables: Mapping[str, str]) -> str | None:
    match = re.fullmatch(r"\$\{?(\w+)(?::?-([^${}]*))?\}?", text)
    if match is None:
        return None
    return variables.get(match[1]) or match[2]


def _inner_script(words: tuple[str, ...]) -> str | None:
    """Return the script of `sh -c SCRIPT`."""
    if len(words) < 3 or words[0] not in _SHELLS:
        return None
    options = words[1:-1]
    is_script = any(re.fullmatch(r"-[a-z]*c", option) for option in options)
    return words[-1] if is_script else None


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")
