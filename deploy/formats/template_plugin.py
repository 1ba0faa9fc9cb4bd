"""CoreDNS's `template` plugin: render the blocks of fixes, recognize these and similar ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from deploy.formats.corefile import CorefileBlock, Directive, find_indent, insert_lines
from deploy.formats.domain import parse_domain

MARK = "# pypi-mirror fix"


def render_block(fix: str, title: str, head: str, body: Sequence[str]) -> tuple[str, ...]:
    """Return the lines of a template block.

    The first and last line name the fix, so that a diff never confuses the ends of two blocks.
    """
    inner = (f"    {line}" for line in body)
    return (f"{MARK} {fix}: {title}", f"template {head} {{", *inner, f"}} {MARK} {fix}")


def insert_block(
    text: str, block: CorefileBlock, lines: Sequence[str], anchor: Directive | None
) -> str:
    """Insert lines before a directive of the block; without one, before `forward` or at its end."""
    anchor = anchor or next(iter(block.find("forward") or block.find("proxy")), None)
    at = anchor.tokens[0].begin if anchor else block.insert_at
    return insert_lines(text, _skip_comments(text, at), lines, find_indent(text, block))


def _skip_comments(text: str, at: int) -> int:
    """Return the position before the comment lines that belong to what is at ``at``."""
    begin = text.rfind("\n", 0, at) + 1
    if text[begin:at].strip():
        return at
    while begin:
        previous = text.rfind("\n", 0, begin - 1) + 1
        if not text[previous:begin].strip().startswith("#"):
            break
        begin = previous
    return begin


def get_zones(template: Directive, block: CorefileBlock) -> tuple[str, ...]:
    """Return the zones of a template: its own, or those of its server block."""
    zones = tuple(zone.lower().rstrip(".") or "." for zone in template.args[2:])
    return zones or block.zones


def get_patterns(template: Directive) -> tuple[str, ...]:
    """Return its regular expressions; without any, it matches every name."""
    return tuple(word for line in template.body if line and line[0] == "match" for word in line[1:])


def is_zone_of(zone: str, suffix: str) -> bool:
    """Return whether a zone is the suffix or one of its parents."""
    return zone == "." or suffix == zone or suffix.endswith(f".{zone}")


# -- regular expressions --------------------------------------------------------------------------

_LabelTree: TypeAlias = dict[str, Any]  # label → what may precede it; "" marks the end of a name


def match_expanded(suffix: str, keep: Sequence[str] = ()) -> str:
    """Return a pattern of the names that search expansion creates: two labels or more + suffix.

    It does not match the names of ``keep``, which are under the suffix, nor anything under them.
    """
    tail = rf"{_escape(suffix)}\.$"
    kept = [name.removesuffix(f".{suffix}") for name in keep]
    if not kept:
        return rf"^([^.]+\.){{2,}}{tail}"
    return rf"^({_match_other_names(_build_tree(kept), min_labels=2)})\.{tail}"


def match_outside(suffixes: Sequence[str]) -> str:
    """Return a pattern of every name that is neither one of these suffixes nor under one.

    RE2 has no negation. The names form a tree of labels, from the right; at each label the pattern
    continues with another label than those in the tree, or with one of them and what follows it.
    Names end with a dot and are in lower case, as CoreDNS passes them.
    """
    return rf"^(\.|({_match_other_names(_build_tree(suffixes), min_labels=1)})\.)$"


def _build_tree(names: Sequence[str]) -> _LabelTree:
    tree: _LabelTree = {}
    for name in sorted(names, key=lambda name: name.count(".")):
        node = tree
        for label in parse_domain(name).split(".")[::-1]:
            if "" in node:
                break  # a shorter name includes this one
            node = node.setdefault(label, {})
        else:
            node.clear()
            node[""] = {}
    return tree


def _match_other_names(tree: _LabelTree, *, min_labels: int) -> str:
    """Match names of ``min_labels`` or more, without the trailing dot, that are not in the tree."""
    repeat = "+" if min_labels > 1 else "*"
    branches = [rf"([^.]+\.){repeat}{_match_other(sorted(tree))}"]
    for label, children in sorted(tree.items()):
        if "" not in children:
            branches += [_escape(label)] if min_labels == 1 else []
            branches.append(rf"({_match_other_names(children, min_labels=1)})\.{_escape(label)}")
    return "|".join(branches)


def _match_other(words: Sequence[str]) -> str:
    """Match a label, or the rest of one, that is not empty and none of these."""
    # `-` comes last in the character class, where it is literal
    letters = "".join(sorted({word[0] for word in words if word}, reverse=True))
    branches = [f"[^.{letters}][^.]*"]
    for letter in letters:
        rests = [word[1:] for word in words if word[:1] == letter]
        branches.append(letter + _match_other(rests) + ("" if "" in rests else "?"))
    return f"({'|'.join(branches)})"


def _escape(name: str) -> str:
    """Escape a domain name: only its dots are special."""
    return name.replace(".", r"\.")
