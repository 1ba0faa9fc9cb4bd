"""Build backends: the pinned ones, and others that a project asks for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from images.build_backends import (
    choose_backends,
    list_build_constraints,
    list_build_requirements,
    read_pinned_backends,
)
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from tests.wheels import build_wheel

HASH = " \\\n    --hash=sha256:" + "a" * 64 + "\n"
PINNED = f"own-backend==2.0{HASH}other==1.0 ; python_version > '3'{HASH}"


@pytest.fixture
def index(httpserver: HTTPServer) -> str:
    """An index with three versions of a backend and one of another."""
    pages: dict[str, str] = {}
    for name, version in (
        ("own-backend", "1.0"),
        ("own-backend", "1.5"),
        ("own-backend", "2.0"),
        ("new-backend", "3.0"),
    ):
        filename, content = build_wheel(name, version, {})
        digest = hashlib.sha256(content).hexdigest()
        httpserver.expect_request(f"/files/{filename}").respond_with_data(content)
        link = f'<a href="/files/{filename}#sha256={digest}">{filename}</a>'
        pages[name] = pages.get(name, "") + link
    for name, links in pages.items():
        page = f"<!DOCTYPE html><html><body>{links}</body></html>"
        httpserver.expect_request(f"/simple/{name}/").respond_with_data(
            page, content_type="text/html"
        )
    return httpserver.url_for("/simple/")


def choose(index: str, *constraints: str, requires: tuple[str, ...] = ()) -> str:
    return choose_backends(PINNED, constraints, requires, index, Deadline.after(60))


def test_keeps_the_pins_that_fit_without_asking_an_index() -> None:
    nowhere = "http://127.0.0.1:9/simple/"
    assert choose(nowhere, "own-backend<3", "unknown<2", requires=("other>=1",)) == PINNED


def test_takes_another_version_that_the_project_asks_for(index: str) -> None:
    text = choose(index, "own-backend<2")
    assert "own-backend==1.5" in text
    assert "own-backend==2.0" not in text
    assert "other==1.0" in text
    assert text.count("--hash=sha256:") == 2
    both = choose(index, "own-backend<2", requires=("own_backend!=1.5",))
    assert "own-backend==1.0" in both


def test_adds_a_backend_that_is_not_pinned(index: str) -> None:
    text = choose(index, requires=("new-backend>=3,<4",))
    assert text.startswith(PINNED)
    assert "new-backend==3.0" in text


def test_names_what_no_backend_fits(index: str) -> None:
    with pytest.raises(InputError, match=r"no build backend fits .*: own-backend<0"):
        choose(index, "own-backend<0")


def test_reads_what_a_project_says(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=61"]\n'
        '[tool.uv]\nbuild-constraint-dependencies = ["setuptools<80"]\n'
    )
    assert list_build_constraints(tmp_path) == ["setuptools<80"]
    assert list_build_requirements(tmp_path) == ["setuptools>=61"]


def test_the_shipped_pins_can_be_read() -> None:
    pinned = read_pinned_backends()
    nowhere = "http://127.0.0.1:9/simple/"
    usual = ["setuptools>=61", "wheel", "hatchling", "poetry-core>=1.9", "pdm-backend", "flit-core"]
    assert choose_backends(pinned, [], usual, nowhere, Deadline.after(5)) == pinned
