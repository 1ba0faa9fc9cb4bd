"""The Python of a base image, compared with what a project and its lock ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.base_python import check_base_tag, has_known_python
from images.project_lock import ProjectLock
from mirror.core.errors import InputError


def lock(requires: str = "") -> ProjectLock:
    return ProjectLock(file="uv.lock", sha256="", requires_python=requires, pins=(), members=())


def test_refuses_a_base_image_that_the_lock_was_not_made_for(tmp_path: Path) -> None:
    check_base_tag("python:3.13-slim", tmp_path, lock(">=3.13"))
    with pytest.raises(InputError, match=r"python:3\.12-slim has Python 3\.12") as refused:
        check_base_tag("python:3.12-slim", tmp_path, lock(">=3.13"))
    assert refused.value.why == "uv.lock: requires-python >=3.13"
    assert "--base python:3.13-slim-bookworm" in refused.value.next_step


def test_names_the_line_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nrequires-python = "<3.12"\n')
    with pytest.raises(InputError) as refused:
        check_base_tag("python:3.12", tmp_path, lock())
    assert refused.value.why == "pyproject.toml:3: requires-python <3.12"


def test_a_file_that_only_chooses_a_version_gives_way_to_the_base(tmp_path: Path) -> None:
    (tmp_path / ".python-version").write_text("3.13\n")
    check_base_tag("python:3.12", tmp_path, lock())


@pytest.mark.parametrize(
    ("base", "known"),
    [("python:3.12-slim", True), ("own/base:1", False), ("h:5000/python:3.11", True), ("x", False)],
)
def test_knows_which_names_have_a_version(base: str, known: bool) -> None:
    assert has_known_python(base) == known
