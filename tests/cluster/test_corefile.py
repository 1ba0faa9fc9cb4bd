"""Compare our Corefile parser with CoreDNS' own, on a corpus and on mutants of it."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import pytest

from deploy.formats.corefile import CorefileError, parse
from tests import REPOSITORY
from tests.cluster.binaries import ensure_corefile_reader

CORPUS = REPOSITORY / "tests/unit/cases/corefiles"
MUTANTS = 3000
PIECES = ('"', "\\", "#", "{", "}", "\n", "\r", "\r\n", "\t", " ", ",", "\v")

pytestmark = pytest.mark.cluster


def read_corpus() -> list[str]:
    return [path.read_bytes().decode() for path in sorted(CORPUS.glob("*.corefile"))]


def parse_with_coredns(texts: list[str]) -> list[Any]:
    result = subprocess.run(
        [ensure_corefile_reader()],
        input=json.dumps(texts).encode(),
        capture_output=True,
        timeout=60,
        check=True,
        env={},
    )
    parsed: list[Any] = json.loads(result.stdout)
    return parsed


def parse_with_ours(text: str) -> Any:
    """Return the tokens of each block by directive, with imported snippets."""
    try:
        corefile = parse(text)
    except CorefileError as error:
        return {"error": str(error)}
    blocks = []
    for block in corefile.server_blocks:
        tokens: dict[str, list[str]] = {}
        for directive in corefile.effective_directives(block):
            if directive.name != "import":
                tokens.setdefault(directive.name, []).extend(word.text for word in directive.tokens)
        blocks.append({"keys": list(block.keys), "tokens": tokens})
    return {"error": "", "blocks": blocks}


def describe_difference(text: str, theirs: Any) -> str:
    """Return how the two results differ; "" if they agree or cannot be compared."""
    ours = parse_with_ours(text)
    if theirs["error"] or ours["error"]:
        # imported files do not exist here, and we accept snippets that are declared twice
        incomparable = ("import", "Import", "redeclaration", "Could not")
        if "the block is not closed" in ours["error"]:
            # CoreDNS also takes the last brace of a plugin for the server block's. Nobody can say
            # where another directive belongs, so our parser rejects it.
            return ""
        if bool(theirs["error"]) != bool(ours["error"]) and not any(
            word in theirs["error"] for word in incomparable
        ):
            return f"error: theirs {theirs['error']!r}, ours {ours['error']!r}"
        return ""
    return "" if ours["blocks"] == theirs["blocks"] else f"{ours['blocks']} != {theirs['blocks']}"


def is_comparable(text: str) -> bool:
    """Whether a text has no environment variables, which CoreDNS replaces."""
    return "{$" not in text and "{%" not in text


def test_parses_the_corpus_as_coredns_does() -> None:
    texts = [text for text in read_corpus() if is_comparable(text)]
    differences = {
        text: describe_difference(text, theirs)
        for text, theirs in zip(texts, parse_with_coredns(texts), strict=True)
    }
    assert {text: difference for text, difference in differences.items() if difference} == {}


def test_parses_mutants_as_coredns_does() -> None:
    """Insert, remove and double characters for which lexing is difficult."""
    dice = random.Random(20)
    corpus = [
        text for text in read_corpus() if is_comparable(text) and "import" not in text and text
    ]
    texts = []
    for _ in range(MUTANTS):
        text = dice.choice(corpus)
        for _ in range(dice.randint(1, 3)):
            position = dice.randrange(len(text) + 1)
            piece = dice.choice(PIECES)
            cut = dice.choice([0, 0, 1])
            text = text[:position] + piece + text[position + cut :]
        if is_comparable(text) and "import" not in text:
            texts.append(text)
    differences = {
        text: describe_difference(text, theirs)
        for text, theirs in zip(texts, parse_with_coredns(texts), strict=True)
    }
    wrong = {text: difference for text, difference in differences.items() if difference}
    assert wrong == {}, f"{len(wrong)} of {len(texts)}"
