"""The words of a Corefile, as CoreDNS' own lexer finds them (coredns/caddy, caddyfile/lexer.go).

Its oddities are kept: a carriage return is dropped even inside a word; `#` begins a comment inside
a word too, and that comment ends at the next space if the word had begun; only quotes can be
escaped. A grammar of a parser generator cannot say these; tests/cluster/test_corefile.py compares
both on the same texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# unicode.IsSpace of Go: White_Space
WHITESPACE = frozenset("\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000") | frozenset(
    chr(code) for code in range(0x2000, 0x200B)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word: its text as CoreDNS sees it, and its place. ``line`` and ``last`` from 1."""

    text: str
    begin: int
    end: int
    line: int
    last_line: int  # the line on which it ends


def tokenize(text: str) -> tuple[Token, ...]:
    """The words of a text, as CoreDNS' lexer finds them."""
    return tuple(_lex(text))


def _lex(text: str) -> Iterator[Token]:
    at, line, size = 0, 1, len(text)
    if text.startswith("\ufeff"):
        at = 1
    while at < size:
        # between words: space and comments
        char = text[at]
        if char in WHITESPACE:
            line += char == "\n"
            at += 1
        elif char == "#":
            while at < size and text[at] != "\n":
                at += 1
        else:
            lexed = _quoted if char == '"' else _word
            value, end = lexed(text, at)
            last = line + text.count("\n", at, end)
            if value is not None:
                yield Token(text=value, begin=at, end=end, line=line, last_line=last)
            at, line = end, last


def _word(text: str, at: int) -> tuple[str, int]:
    """Up to a space that is no carriage return; from `#` on nothing counts."""
    value, comment = list[str](), False
    while at < len(text):
        char = text[at]
        if char in WHITESPACE and char != "\r":
            break
        comment = comment or char == "#"
        if not comment and char != "\r":
            value.append(char)
        at += 1
    while text[at - 1] == "\r":
        at -= 1  # that of a line's end is no part of its place
    return "".join(value), at


def _quoted(text: str, at: int) -> tuple[str | None, int]:
    """Up to the closing quotes, or to the end of the text, where nothing at all is no word."""
    value, escaped = list[str](), False
    at += 1
    while at < len(text):
        char = text[at]
        at += 1
        if escaped:
            value.append(char if char == '"' else "\\" + char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            return "".join(value), at
        else:
            value.append(char)
    return "".join(value) or None, at
