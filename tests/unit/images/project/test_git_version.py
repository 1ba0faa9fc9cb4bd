"""Versions from git tags, for builds that have no repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.project.git_version import find_version_variables, takes_version_from_git
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from tests.images.projects import run_git

SCM = (
    '[project]\nname = "Shop.Core"\ndynamic = ["version"]\n'
    '[build-system]\nrequires = ["setuptools>=68", "setuptools-scm[toml]>=8"]\n'
    "[tool.setuptools_scm]\n"
)
HATCH = SCM.replace(
    '"setuptools>=68", "setuptools-scm[toml]>=8"', '"hatchling", "hatch-vcs"'
).replace("[tool.setuptools_scm]", '[tool.hatch.version]\nsource = "vcs"')
VARIABLE = "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SHOP_CORE"


def make_repository(folder: Path, pyproject: str, *tags: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(pyproject)
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "--quiet", "--message", "x")
    for tag in tags:
        run_git(folder, "tag", tag)
    return folder


def find(folder: Path, **given: str) -> dict[str, str]:
    return find_version_variables({".": folder}, given, Deadline.after(30))


@pytest.mark.parametrize("tag", ["v1.8.0", "1.8.0", "shop-1.8.0", "release/v1.8.0"])
def test_gives_the_version_of_the_tag(tmp_path: Path, tag: str) -> None:
    assert find(make_repository(tmp_path / "r", SCM, tag)) == {VARIABLE: "1.8.0"}


def test_hatch_vcs_also_reads_the_variable_without_a_name(tmp_path: Path) -> None:
    found = find(make_repository(tmp_path / "r", HATCH, "v1.8.0"))
    assert found == {VARIABLE: "1.8.0", "SETUPTOOLS_SCM_PRETEND_VERSION": "1.8.0"}


def test_commits_after_a_tag_are_the_next_development_version(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "r", SCM, "v1.8.0")
    run_git(folder, "commit", "--quiet", "--allow-empty", "--message", "y")
    commit = run_git(folder, "rev-parse", "--short=7", "HEAD")
    assert find(folder) == {VARIABLE: f"1.8.1.dev1+g{commit}"}
    (folder / "pyproject.toml").write_text(SCM + 'local_scheme = "no-local-version"\n')
    run_git(folder, "commit", "--quiet", "--all", "--message", "z")
    assert find(folder) == {VARIABLE: "1.8.1.dev2"}


def test_a_repository_without_tags_has_a_development_version(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "r", SCM)
    assert find(folder)[VARIABLE].startswith("0.1.dev1+g")


def test_no_repository_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(SCM)
    with pytest.raises(InputError, match="comes from git tags") as refused:
        find(tmp_path)
    assert f'[build_environment] {VARIABLE} = "1.0"' in refused.value.next_step
    assert find(tmp_path, **{VARIABLE: "1.0"}) == {}
    (tmp_path / "pyproject.toml").write_text(SCM + 'fallback_version = "0.1"\n')
    assert find(tmp_path) == {}


def test_a_shallow_clone_names_the_command_that_fetches_its_tags(tmp_path: Path) -> None:
    origin = make_repository(tmp_path / "r", SCM, "v1.8.0")
    run_git(origin, "commit", "--quiet", "--allow-empty", "--message", "y")
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", "--no-tags", f"file://{origin}", "clone")
    with pytest.raises(InputError, match="this clone has none") as refused:
        find(tmp_path / "clone")
    assert refused.value.next_step == f"git -C {tmp_path}/clone fetch --unshallow --tags"


@pytest.mark.parametrize(
    ("pyproject", "backend"),
    [
        (SCM.replace('dynamic = ["version"]', 'version = "1"'), ""),
        (HATCH.replace(', "hatch-vcs"', ""), ""),
        (HATCH.replace('source = "vcs"', 'path = "x.py"'), ""),
        (HATCH, "hatch-vcs"),
        (SCM.replace("setuptools-scm[toml]", "pdm-backend"), ""),
        (
            SCM.replace("setuptools-scm[toml]", "pdm-backend")
            + '[tool.pdm.version]\nsource = "scm"\n',
            "pdm-backend",
        ),
        (SCM.replace("setuptools-scm[toml]", "uv-dynamic-versioning"), "uv-dynamic-versioning"),
    ],
)  # fmt: skip
def test_knows_which_builds_read_git(tmp_path: Path, pyproject: str, backend: str) -> None:
    (tmp_path / "pyproject.toml").write_text(pyproject)
    assert takes_version_from_git(tmp_path) == backend
