"""Our reading of Corefiles against CoreDNS' own code, on the corpus and on what it mutates to."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.formats.corefile import CorefileError, parse
from tests.cluster.binaries import ensure_corefile_reader

CORPUS = Path(__file__).parents[1] / "unit/cases/corefiles"
MUTANTS = 3000
PIECES = ('"', "\\", "#", "{", "}", "\n", "\r", "\r\n", "\t", " ", ",", "\v")

pytestmark = pytest.mark.cluster


def read_corpus() -> list[str]:
    return [path.read_bytes().decode() for path in sorted(CORPUS.glob("*.corefile"))]


def parse_with_coredns(found: list[str]) -> list[Any]:
    done = subprocess.run(
        [ensure_corefile_reader()],
        input=json.dumps(found).encode(),
        capture_output=True,
        timeout=60,
        check=True,
        env={},
    )
    told: list[Any] = json.loads(done.stdout)
    return told


def parse_with_ours(text: str) -> Any:
    """In the same words: the tokens of each block by directive, snippets imported."""
    try:
        found = parse(text)
    except CorefileError as broken:
        return {"error": str(broken)}
    blocks = []
    for block in found.server_blocks:
        tokens: dict[str, list[str]] = {}
        for one in found.effective_directives(block):
            if one.name != "import":
                tokens.setdefault(one.name, []).extend(word.text for word in one.tokens)
        blocks.append({"keys": list(block.keys), "tokens": tokens})
    return {"error": "", "blocks": blocks}


def describe_difference(text: str, their: Any) -> str:
    """How the two readings differ, where they can be compared."""
    our = parse_with_ours(text)
    if their["error"] or our["error"]:
        # files that are imported are not here; snippets declared twice are no matter of structure
        outside = ("import", "Import", "redeclaration", "Could not")
        if "the block is not closed" in our["error"]:
            # CoreDNS takes the last brace of a plugin for the server's too; where one more
            # directive would go nobody can say, so this is refused
            return ""
        if bool(their["error"]) != bool(our["error"]) and not any(
            word in their["error"] for word in outside
        ):
            return f"error: theirs {their['error']!r}, ours {our['error']!r}"
        return ""
    return "" if our["blocks"] == their["blocks"] else f"{our['blocks']} != {their['blocks']}"


def is_comparable(text: str) -> bool:
    """Environment variables are filled in, and imports inside of a plugin's block too."""
    return "{$" not in text and "{%" not in text


def test_the_corpus_is_read_as_coredns_reads_it() -> None:
    found = [text for text in read_corpus() if is_comparable(text)]
    told = {
        text: describe_difference(text, their)
        for text, their in zip(found, parse_with_coredns(found), strict=True)
    }
    assert {text: how for text, how in told.items() if how} == {}


def test_so_are_mutants_of_it() -> None:
    """Characters put in, taken out and doubled where the lexer is delicate."""
    dice = random.Random(20)
    corpus = [
        text for text in read_corpus() if is_comparable(text) and "import" not in text and text
    ]
    found = []
    for _ in range(MUTANTS):
        text = dice.choice(corpus)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(text) + 1)
            piece = dice.choice(PIECES)
            cut = dice.choice([0, 0, 1])
            text = text[:at] + piece + text[at + cut :]
        if is_comparable(text) and "import" not in text:
            found.append(text)
    told = {
        text: describe_difference(text, their)
        for text, their in zip(found, parse_with_coredns(found), strict=True)
    }
    wrong = {text: how for text, how in told.items() if how}
    assert wrong == {}, f"{len(wrong)} of {len(found)}"
