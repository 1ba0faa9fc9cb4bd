"""CoreDNS' `template` plugin, as fixes write it and as people do: text, and recognition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from deploy.formats.corefile import CorefileBlock, Directive, find_indent, insert_lines
from deploy.formats.domain import parse_domain

MARK = "# pypi-mirror fix"


def render_block(fix: str, what: str, head: str, lines: Sequence[str]) -> tuple[str, ...]:
    """A block of ours. Its first and last lines say whose it is, so that no two ends look alike."""
    inner = (f"    {line}" for line in lines)
    return (f"{MARK} {fix}: {what}", f"template {head} {{", *inner, f"}} {MARK} {fix}")


def insert_block(
    text: str, block: CorefileBlock, lines: Sequence[str], *, before: Sequence[str]
) -> str:
    """Lines before the first directive of these names that is there, else at the block's end."""
    found = [one for name in before for one in block.find(name)[:1]]
    at = found[0].tokens[0].begin if found else block.insert_at
    return insert_lines(text, _with_comment(text, at), lines, find_indent(text, block))


def _with_comment(text: str, at: int) -> int:
    """The place before comment lines that belong to what stands at ``at``."""
    begin = text.rfind("\n", 0, at) + 1
    if text[begin:at].strip():
        return at
    while begin:
        above = text.rfind("\n", 0, begin - 1) + 1
        if not text[above:begin].strip().startswith("#"):
            break
        begin = above
    return begin


def answers_only(one: Directive, qtype: str, rcode: str) -> bool:
    """Whether it answers all questions of this type with nothing but this rcode."""
    if len(one.args) < 2 or one.args[0] not in {"IN", "ANY"} or one.args[1] not in {qtype, "ANY"}:
        return False
    given = {line[0]: line[1:] for line in one.body if line}
    if given.keys() & {"answer", "additional"}:
        return False
    return tuple(given.get("rcode", ("NOERROR",))) == (rcode,)


def get_zones(one: Directive, block: CorefileBlock) -> tuple[str, ...]:
    """The zones a template is about: its own, else those of its server block."""
    named = tuple(zone.lower().rstrip(".") or "." for zone in one.args[2:])
    return named or block.zones


def get_patterns(one: Directive) -> tuple[str, ...]:
    """Its regular expressions; none means every name."""
    return tuple(word for line in one.body if line and line[0] == "match" for word in line[1:])


def matches_everything(one: Directive) -> bool:
    """Whether it takes every name of its zones."""
    found = get_patterns(one)
    return not found or bool({".*", ".", "^.*$"} & set(found))


def is_zone_of(zone: str, suffix: str) -> bool:
    """Whether a zone is this suffix or above it."""
    return zone == "." or suffix == zone or suffix.endswith(f".{zone}")


_Tree: TypeAlias = dict[str, Any]  # label → what may stand before it; "" marks an end


def match_expanded(suffix: str, keep: Sequence[str] = ()) -> str:
    """The names that search expansion makes: two labels or more before the suffix.

    Without the names of ``keep``, which are below the suffix, and all below them.
    """
    tail = rf"{_escaped(suffix)}\.$"
    kept = [one.removesuffix(f".{suffix}") for one in keep]
    if not kept:
        return rf"^([^.]+\.){{2,}}{tail}"
    return rf"^({_outside(_tree(kept), least=2)})\.{tail}"


def match_outside(suffixes: Sequence[str]) -> str:
    """Every name that is not one of these suffixes nor below it: RE2 has no `not`.

    A tree of labels from the right; at each label either another word than those that lead to a
    suffix, or one of them and on. Names end in a dot and are in lower case, as CoreDNS has them.
    """
    return rf"^(\.|({_outside(_tree(suffixes), least=1)})\.)$"


def _tree(names: Sequence[str]) -> _Tree:
    tree: _Tree = {}
    for name in sorted(names, key=lambda one: one.count(".")):
        node = tree
        for label in parse_domain(name).split(".")[::-1]:
            if "" in node:
                break  # a shorter one holds it already
            node = node.setdefault(label, {})
        else:
            node.clear()
            node[""] = {}
    return tree


def _outside(tree: _Tree, *, least: int) -> str:
    """Names (without the last dot) of ``least`` labels or more that lead to no end of the tree."""
    ways = [rf"([^.]+\.){'+' if least > 1 else '*'}{_other_than(sorted(tree))}"]
    for label, below in sorted(tree.items()):
        if "" not in below:
            ways += [_escaped(label)] if least == 1 else []
            ways.append(rf"({_outside(below, least=1)})\.{_escaped(label)}")
    return "|".join(ways)


def _other_than(words: Sequence[str]) -> str:
    """A label that is none of these words."""
    ways = [f"[^.{_heads(words)}][^.]*"]
    ways += [head + _rest([w[1:] for w in words if w[0] == head]) for head in _heads(words)]
    return f"({'|'.join(ways)})"


def _rest(words: Sequence[str]) -> str:
    """What may follow, so that the whole is none of the words whose rests these are."""
    ways = [f"[^.{_heads(words)}][^.]*"]
    ways += [head + _rest([w[1:] for w in words if w[:1] == head]) for head in _heads(words)]
    return f"({'|'.join(ways)})" + ("" if "" in words else "?")


def _heads(words: Sequence[str]) -> str:
    """Their first letters; `-` last, where it means itself in a class."""
    return "".join(sorted({word[0] for word in words if word}, reverse=True))


def _escaped(name: str) -> str:
    """Of a domain name only the dots mean something else."""
    return name.replace(".", r"\.")
