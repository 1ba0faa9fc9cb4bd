"""The pages: their links lead somewhere, and the messages that they explain exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PACKAGES = ("cli", "deploy", "images", "mirror")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    kept = [re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in list_anchors(target), f"{page.name}: {link}"


def test_every_page_is_linked_from_the_index() -> None:
    index = REPOSITORY / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in find_links(index)}
    missing = [page for page in PAGES[1:] if page not in linked and page != index]
    assert [str(page.relative_to(REPOSITORY)) for page in missing] == []


def find_links(page: Path) -> list[str]:
    return _LINK.findall(page.read_text())


def iter_messages() -> Iterator[str]:
    """Yield the first argument of each error, with `…` for what is filled in."""
    for package in PACKAGES:
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args:
                    function = node.func
                    name = getattr(function, "attr", getattr(function, "id", ""))
                    if name.endswith("Error"):
                        yield read_text(node.args[0])


def read_text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(read_text(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return read_text(left) + read_text(right)
        case ast.IfExp(body=body):
            return read_text(body)
    return "…"


def test_the_page_of_commands_is_up_to_date() -> None:
    write = (sys.executable, "docs/commands.py", "--check")
    subprocess.run(write, cwd=REPOSITORY, timeout=120, check=True)


def test_explains_messages_that_the_programs_have() -> None:
    page = (REPOSITORY / "docs/troubleshooting.md").read_text()
    others, ours = page.split("## Messages of mirror and build-image")
    known = set(iter_messages())
    headings = re.findall(r"^### (.+)$", ours, re.MULTILINE)
    assert [heading for heading in headings if heading not in known] == []
    assert len(headings) + others.count("\n### ") >= 40
