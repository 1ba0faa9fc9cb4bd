"""The docs as a site: `mkdocs build` finds every page and every link, and loads nothing foreign."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY

_SOURCE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"(https?:[^\"]*)\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)),
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    docs = REPOSITORY / "docs"
    pages = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")}
    pages |= {Path("changelog"), Path("contributing"), Path("report")}
    pages -= {Path("README")}
    assert {path.parent.relative_to(site) for path in site.rglob("index.html")} == pages | {Path()}


def test_links_between_the_docs_and_the_top_level_lead_to_pages(site: Path) -> None:
    assert 'href="../changelog/"' in (site / "install/index.html").read_text()
    assert 'href="../security/"' in (site / "report/index.html").read_text()


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    found = [
        (path.name, source)
        for path in site.rglob("*.html")
        for source in _SOURCE.findall(path.read_text())
    ]
    assert found == []


def test_lists_and_tables_are_rendered(site: Path) -> None:
    """Python-Markdown wants an empty line before them, other readers of the files do not."""
    in_text = re.compile(r"^(?:[-*] |\d+\. |\| )", re.MULTILINE)
    flat = [
        (str(path.relative_to(site)), paragraph[:80])
        for path in site.rglob("index.html")
        for paragraph in re.findall(r"<p>(.*?)</p>", path.read_text(), re.DOTALL)
        if in_text.search(paragraph)
    ]
    assert flat == []
