"""Corefiles: read as CoreDNS reads them, changed by splicing text, so that no other byte moves.

Every word (words.py) knows where it stands; an edit is text put in or taken out at such a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.formats.corefile_lexer import WHITESPACE, Token, tokenize


class CorefileError(ValueError):
    """A text that CoreDNS would not load either; names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A plugin with its arguments, and the words of its block, a tuple a line."""

    name: str
    args: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    tokens: tuple[Token, ...]
    brace: Token | None  # that opens its block

    @property
    def line(self) -> int:
        return self.tokens[0].line


@dataclass(frozen=True, slots=True, kw_only=True)
class CorefileBlock:
    """A server block, or a snippet. ``close`` is the place where one more directive can go."""

    keys: tuple[str, ...]
    directives: tuple[Directive, ...]
    line: int
    insert_at: int

    @property
    def is_snippet(self) -> bool:
        return len(self.keys) == 1 and self.keys[0].startswith("(") and self.keys[0].endswith(")")

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones it serves, in lower case without the last dot; `.` is the root."""
        return tuple(parse_zone(key) for key in self.keys)

    def find(self, *names: str) -> tuple[Directive, ...]:
        return tuple(one for one in self.directives if one.name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCorefile:
    """A parsed text. ``imports`` are those outside of blocks."""

    text: str
    blocks: tuple[CorefileBlock, ...]
    imports: tuple[str, ...]

    @property
    def server_blocks(self) -> tuple[CorefileBlock, ...]:
        return tuple(block for block in self.blocks if not block.is_snippet)

    def effective_directives(self, block: CorefileBlock) -> tuple[Directive, ...]:
        """The directives of a server block, those of the snippets that it imports among them."""
        snippets = {one.keys[0][1:-1]: one for one in self.blocks if one.is_snippet}
        found: list[Directive] = []
        for one in block.directives:
            named = snippets.get(one.args[0]) if one.name == "import" and one.args else None
            found += named.directives if named else (one,)
        return tuple(found)


def parse_zone(key: str) -> str:
    """`dns://Example.org.:1053` → `example.org`."""
    rest = key.rpartition("://")[2]
    name, colon, port = rest.rpartition(":")
    if colon and port.isdigit():
        rest = name
    return rest.lower().rstrip(".") or "."


# -- structure ------------------------------------------------------------------------------------


def parse(text: str) -> ParsedCorefile:
    """Raises CorefileError where CoreDNS would not load it for its structure."""
    reader = _Reader(tokenize(text), len(text))
    blocks, imports = list[CorefileBlock](), list[str]()
    while not reader.over:
        if reader.text == "import":
            imports += [one.text for one in reader.line()[1:]]
            continue
        block = reader.block()
        if block.keys:
            blocks.append(block)
    return ParsedCorefile(text=text, blocks=tuple(blocks), imports=tuple(imports))


def parse_fragment(text: str) -> CorefileBlock:
    """The directives of a file that is imported into a server block."""
    reader = _Reader(tokenize(text), len(text))
    directives = reader.directives(until_brace=False)
    return CorefileBlock(keys=(), directives=directives, line=1, insert_at=len(text))


class _Reader:
    """Walks over the words as CoreDNS' parser does (caddyfile/parse.go)."""

    def __init__(self, words: Sequence[Token], size: int) -> None:
        self._words = words
        self._at = 0
        self._size = size

    @property
    def over(self) -> bool:
        return self._at >= len(self._words)

    @property
    def text(self) -> str:
        return self._words[self._at].text

    @property
    def _new_line(self) -> bool:
        return self._at == 0 or self._words[self._at - 1].last_line < self._words[self._at].line

    def _next(self) -> Token:
        self._at += 1
        return self._words[self._at - 1]

    def line(self) -> list[Token]:
        """The words up to the end of the line."""
        found = [self._next()]
        while not self.over and not self._new_line:
            found.append(self._next())
        return found

    def block(self) -> CorefileBlock:
        first = self._words[self._at]
        keys = self._keys()
        if self.over:
            return CorefileBlock(keys=keys, directives=(), line=first.line, insert_at=self._size)
        braced = self.text == "{"
        if braced:
            self._next()
        directives = self.directives(until_brace=True)
        if not self.over:
            close = self._next().begin
        elif braced:
            raise CorefileError(f"line {first.line}: the block is not closed")
        else:
            close = self._size
        return CorefileBlock(keys=keys, directives=directives, line=first.line, insert_at=close)

    def _keys(self) -> tuple[str, ...]:
        keys, more = list[str](), False
        while not self.over:
            if self.text == "{":
                if more:
                    raise CorefileError(f"line {self._words[self._at].line}: a comma too many")
                break
            if keys and not more and self._new_line:
                break
            word = self._next().text
            if word:
                more = word.endswith(",")
                keys.append(word.removesuffix(","))
        if more:
            raise CorefileError("the text ends after a comma")
        return tuple(keys)

    def directives(self, *, until_brace: bool) -> tuple[Directive, ...]:
        found = []
        while not self.over:
            if self.text == "}":
                if until_brace:
                    break
                raise CorefileError(f"line {self._words[self._at].line}: unexpected }}")
            found.append(self._directive())
        return tuple(found)

    def _directive(self) -> Directive:
        words = [self._next()]
        nesting, brace = 0, None
        while not self.over:
            text = self.text
            if text == "{":
                nesting += 1
                brace = brace or self._words[self._at]
            elif self._new_line and nesting == 0:
                break
            elif text == "}":
                if nesting == 0:
                    raise CorefileError(f"line {self._words[self._at].line}: unexpected }}")
                nesting -= 1
            words.append(self._next())
        if nesting:
            raise CorefileError(f"line {words[0].line}: {words[0].text} is not closed")
        head = words[: words.index(brace)] if brace else words
        return Directive(
            name=words[0].text,
            args=tuple(one.text for one in head[1:]),
            body=_lines(words[len(head) + 1 : -1]) if brace else (),
            tokens=tuple(words),
            brace=brace,
        )


def _lines(words: Sequence[Token]) -> tuple[tuple[str, ...], ...]:
    lines: list[list[str]] = []
    for number, word in enumerate(words):
        if number == 0 or words[number - 1].last_line < word.line:
            lines.append([])
        lines[-1].append(word.text)
    return tuple(map(tuple, lines))


# -- edits ----------------------------------------------------------------------------------------


def insert_lines(text: str, at: int, lines: Sequence[str], indent: str) -> str:
    """Whole lines before the line in which ``at`` stands, with that text's kind of line end."""
    begin = text.rfind("\n", 0, at) + 1
    ending = "\r\n" if "\r\n" in text else "\n"
    if text[begin:at].strip():
        # something stands before it on its line: the new lines go between the two
        begin = at
        block = ending + ending.join(indent + line for line in lines) + ending
    else:
        before = "" if begin == 0 or text[begin - 1] == "\n" else ending
        block = before + "".join(indent + line + ending for line in lines)
    return text[:begin] + block + text[begin:]


def find_indent(text: str, block: CorefileBlock) -> str:
    """The white space before the first directive that begins a line of its own."""
    for one in block.directives:
        at = one.tokens[0].begin
        begin = text.rfind("\n", 0, at) + 1
        if not text[begin:at].strip():
            return text[begin:at]
    return "    "


def quote(word: str) -> str:
    """A word as it is written, in quotes where it has to be."""
    if word and not any(char in WHITESPACE or char in '"#{}' for char in word):
        return word
    return '"' + word.replace('"', '\\"') + '"'
