"""Parse Corefiles as CoreDNS does, and edit their text so that no other byte changes.

Every token (corefile_lexer.py) has its position; an edit inserts or replaces text there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from deploy.formats.corefile_lexer import Token, tokenize

_VARIABLE = re.compile(r"\{\$([^{}\s]+)\}|\{%([^{}%\s]+)%\}")  # of the environment


class CorefileError(ValueError):
    """A text that CoreDNS would not load either. The message names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A plugin with its arguments, and the words in its braces as one tuple per line."""

    name: str
    args: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    tokens: tuple[Token, ...]
    brace: Token | None  # the opening one

    @property
    def line(self) -> int:
        return self.tokens[0].line


ExpandedDirectives: TypeAlias = Sequence[tuple[Directive, Sequence[Directive]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorefileBlock:
    """A server block or a snippet. ``insert_at`` is where another directive can go."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    line: int
    insert_at: int

    @property
    def is_snippet(self) -> bool:
        return len(self.keys) == 1 and self.keys[0].startswith("(") and self.keys[0].endswith(")")

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones it serves, in lower case without the trailing dot; `.` is the root."""
        return tuple(parse_zone(key) for key in self.keys)

    def find(self, *names: str) -> tuple[Directive, ...]:
        return tuple(directive for directive in self.directives if directive.name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCorefile:
    """The blocks of a Corefile. ``imports_blocks``: it imports more, which are not among them."""

    blocks: tuple[CorefileBlock, ...]
    imports_blocks: bool = False

    @property
    def server_blocks(self) -> tuple[CorefileBlock, ...]:
        return tuple(block for block in self.blocks if not block.is_snippet)

    def effective_directives(self, block: CorefileBlock) -> tuple[Directive, ...]:
        """Return the directives of a block, with those of the snippets that it imports."""
        return tuple(found for _, expanded in self.expand(block) for found in expanded)

    def expand(self, block: CorefileBlock) -> ExpandedDirectives:
        """Return each directive with what it stands for: an `import` for all of its snippet."""
        snippets = {b.keys[0][1:-1]: b.directives for b in self.blocks if b.is_snippet}
        return tuple((each, _expand(each, snippets, ())) for each in block.directives)


def _expand(
    directive: Directive, snippets: Mapping[str, tuple[Directive, ...]], inside: tuple[str, ...]
) -> tuple[Directive, ...]:
    """Return a directive, or those of the snippet that it imports; ``inside``: its importers."""
    name = directive.args[0] if directive.name == "import" and directive.args else ""
    if name not in snippets or name in inside:
        return (directive,)
    inner = snippets[name]
    return tuple(found for each in inner for found in _expand(each, snippets, (*inside, name)))


def find_variable(word: str) -> str | None:
    """Return the first environment variable in a word, as it is written: `{$ZONE}`."""
    found = _VARIABLE.search(word)
    return found[0] if found else None


def replace_variables(word: str, environment: Mapping[str, str]) -> str:
    """Replace the variables that ``environment`` has, as CoreDNS does in keys and arguments."""
    return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], found[0]), word)


def parse_zone(key: str) -> str:
    """Return the zone of a server block's key: `dns://Example.org.:1053` → `example.org`."""
    address = key.rpartition("://")[2]
    name, colon, port = address.rpartition(":")
    if colon and (port.isdigit() or _VARIABLE.fullmatch(port)):
        address = name
    return address.lower().rstrip(".") or "."


# -- parsing --------------------------------------------------------------------------------------


def parse(text: str) -> ParsedCorefile:
    """Parse a Corefile. Raises CorefileError if CoreDNS would reject its structure."""
    parser = _Parser(text)
    blocks = []
    imports_blocks = False
    while not parser.is_at_end:
        if parser.text == "import":
            imports_blocks = True
            parser.skip_line()
            continue
        block = parser.read_block()
        if block.keys:
            blocks.append(block)
    return ParsedCorefile(blocks=tuple(blocks), imports_blocks=imports_blocks)


def parse_fragment(text: str) -> CorefileBlock:
    """Parse the directives of a file that a server block imports."""
    directives = _Parser(text).read_directives(until_brace=False)
    return CorefileBlock(keys=(), directives=directives, line=1, insert_at=len(text))


class _Parser:
    """Reads the tokens in the way of CoreDNS's parser (caddyfile/parse.go)."""

    def __init__(self, text: str) -> None:
        self._tokens = tokenize(text)
        self._at = 0
        self._size = len(text)

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._tokens)

    @property
    def text(self) -> str:
        return self._tokens[self._at].text

    @property
    def _line(self) -> int:
        return self._tokens[self._at].line

    @property
    def _is_new_line(self) -> bool:
        return self._at == 0 or self._tokens[self._at - 1].last_line < self._line

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def skip_line(self) -> None:
        self._next()
        while not self.is_at_end and not self._is_new_line:
            self._next()

    def read_block(self) -> CorefileBlock:
        line = self._line
        keys = self._read_keys()
        if self.is_at_end:
            return CorefileBlock(keys=keys, directives=(), line=line, insert_at=self._size)
        has_brace = self.text == "{"
        if has_brace:
            self._next()
        directives = self.read_directives(until_brace=True)
        if not self.is_at_end:
            insert_at = self._next().begin
        elif has_brace:
            raise CorefileError(f"line {line}: the block is not closed")
        else:
            insert_at = self._size
        return CorefileBlock(keys=keys, directives=directives, line=line, insert_at=insert_at)

    def _read_keys(self) -> tuple[str, ...]:
        keys, after_comma = list[str](), False
        while not self.is_at_end:
            if self.text == "{":
                if after_comma:
                    raise CorefileError(f"line {self._line}: a comma too many")
                break
            if keys and not after_comma and self._is_new_line:
                break
            word = self._next().text
            if word:
                after_comma = word.endswith(",")
                keys.append(word.removesuffix(","))
        if after_comma:
            raise CorefileError("the text ends after a comma")
        return tuple(keys)

    def read_directives(self, *, until_brace: bool) -> tuple[Directive, ...]:
        directives = []
        while not self.is_at_end:
            if self.text == "}":
                if until_brace:
                    break
                raise CorefileError(f"line {self._line}: unexpected }}")
            directives.append(self._read_directive())
        return tuple(directives)

    def _read_directive(self) -> Directive:
        tokens = [self._next()]
        depth, brace = 0, None
        while not self.is_at_end:
            text = self.text
            if text == "{":
                depth += 1
                brace = brace or self._tokens[self._at]
            elif self._is_new_line and depth == 0:
                break
            elif text == "}":
                if depth == 0:
                    raise CorefileError(f"line {self._line}: unexpected }}")
                depth -= 1
            tokens.append(self._next())
        if depth:
            raise CorefileError(f"line {tokens[0].line}: {tokens[0].text} is not closed")
        head = tokens[: tokens.index(brace)] if brace else tokens
        return Directive(
            name=tokens[0].text,
            args=tuple(token.text for token in head[1:]),
            body=_split_lines(tokens[len(head) + 1 : -1]) if brace else (),
            tokens=tuple(tokens),
            brace=brace,
        )


def _split_lines(tokens: Sequence[Token]) -> tuple[tuple[str, ...], ...]:
    lines: list[list[str]] = []
    for number, token in enumerate(tokens):
        if number == 0 or tokens[number - 1].last_line < token.line:
            lines.append([])
        lines[-1].append(token.text)
    return tuple(map(tuple, lines))


# -- editing --------------------------------------------------------------------------------------


def insert_lines(text: str, at: int, lines: Sequence[str], indent: str) -> str:
    """Insert whole lines before the line that contains ``at``, with the text's line endings."""
    begin = text.rfind("\n", 0, at) + 1
    newline = "\r\n" if "\r\n" in text else "\n"
    if text[begin:at].strip():
        # something precedes it on its line: the new lines go between the two
        begin = at
        inserted = newline + newline.join(indent + line for line in lines) + newline
    else:
        separator = "" if begin == 0 or text[begin - 1] == "\n" else newline
        inserted = separator + "".join(indent + line + newline for line in lines)
    return text[:begin] + inserted + text[begin:]


def find_indent(text: str, block: CorefileBlock) -> str:
    """Return the whitespace before the first directive that begins a line."""
    for directive in block.directives:
        at = directive.tokens[0].begin
        begin = text.rfind("\n", 0, at) + 1
        if not text[begin:at].strip():
            return text[begin:at]
    return "    "
