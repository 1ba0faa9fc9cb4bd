"""Split a Corefile into tokens exactly as CoreDNS does (coredns/caddy, caddyfile/lexer.go).

Its oddities are kept: a carriage return is dropped even inside a word; `#` begins a comment even
inside a word, and such a comment ends at the next space; only quotes can be escaped. No parser
generator's grammar can express these. tests/cluster/test_corefile.py compares both lexers on the
same texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Go's unicode.IsSpace: White_Space
WHITESPACE = frozenset("\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000") | frozenset(
    chr(code) for code in range(0x2000, 0x200B)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word as CoreDNS reads it, at text[begin:end]. Lines count from 1."""

    text: str
    begin: int
    end: int
    line: int
    last_line: int  # where it ends: a quoted word may span lines


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens of a text."""
    return tuple(_lex(text))


def _lex(text: str) -> Iterator[Token]:
    at, line, size = 0, 1, len(text)
    if text.startswith("\ufeff"):
        at = 1
    while at < size:
        char = text[at]
        if char in WHITESPACE:
            line += char == "\n"
            at += 1
        elif char == "#":
            while at < size and text[at] != "\n":
                at += 1
        else:
            read = _read_quoted if char == '"' else _read_word
            value, end = read(text, at)
            last_line = line + text.count("\n", at, end)
            if value is not None:
                yield Token(text=value, begin=at, end=end, line=line, last_line=last_line)
            at, line = end, last_line


def _read_word(text: str, at: int) -> tuple[str, int]:
    """Read up to a space other than a carriage return; ignore everything after a `#`."""
    value, in_comment = list[str](), False
    while at < len(text):
        char = text[at]
        if char in WHITESPACE and char != "\r":
            break
        in_comment = in_comment or char == "#"
        if not in_comment and char != "\r":
            value.append(char)
        at += 1
    while text[at - 1] == "\r":
        at -= 1  # the one at the end of a line is not part of the token
    return "".join(value), at


def _read_quoted(text: str, at: int) -> tuple[str | None, int]:
    """Read up to the closing quotes or the end of the text; None for an unclosed empty word."""
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
