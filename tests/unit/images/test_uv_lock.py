"""A uv.lock made by real uv: up to date, out of date, with an unknown extra, broken."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from images.application_recipe import ApplicationRecipe
from images.project_lock import ProjectLock, read_project_lock
from images.uv import find_uv, uv_environment
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

RECIPE = ApplicationRecipe(name="x")
PROJECT = """\
[project]
name = "hello"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["member"]
[project.optional-dependencies]
web = []
[tool.uv.sources]
member = { workspace = true }
[tool.uv.workspace]
members = ["packages/*"]
"""
MEMBER = '[project]\nname = "member"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A workspace: locking it needs no index."""
    (tmp_path / "packages/member").mkdir(parents=True)
    (tmp_path / "packages/member/pyproject.toml").write_text(MEMBER + HATCH)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    argv = (find_uv(), "lock", "--offline", "--quiet")
    subprocess.run(argv, cwd=tmp_path, env=uv_environment(), check=True, timeout=60)
    return tmp_path


def read(folder: Path, recipe: ApplicationRecipe = RECIPE) -> ProjectLock:
    return read_project_lock(folder, recipe, Deadline.after(60))


def test_installs_a_workspace_member_from_the_source(project: Path) -> None:
    lock = read(project)
    assert lock.members == ("packages/member",)
    assert lock.pins == ()
    assert len(lock.sha256) == 64


def test_refuses_a_lock_that_is_out_of_date(project: Path) -> None:
    path = project / "pyproject.toml"
    path.write_text(PROJECT.replace('["member"]', '["member", "click>=8"]'))
    with pytest.raises(InputError, match="is out of date") as refused:
        read(project)
    assert "click>=8" in refused.value.why
    assert "uv lock" in refused.value.next_step
    path.write_text(PROJECT.replace('["member"]', "[]"))
    with pytest.raises(InputError, match="is out of date") as refused:
        read(project)
    assert "no longer member" in refused.value.why


def test_refuses_an_unknown_extra(project: Path) -> None:
    assert read(project, replace(RECIPE, extras=("web",)))
    with pytest.raises(InputError, match="cannot export the lock") as refused:
        read(project, replace(RECIPE, extras=("nonsense",)))
    assert "nonsense" in refused.value.why
    assert "--extra" in refused.value.next_step


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
@pytest.mark.parametrize("content", [b"[broken", b"\xff\xfe\x00", b"a = [" * 5000])
def test_names_the_file_that_is_not_toml(project: Path, name: str, content: bytes) -> None:
    (project / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read(project)
    assert name in refused.value.what
