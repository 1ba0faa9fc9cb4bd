"""`build-image --builder assemble` with a real engine and a real mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from images.engine.leftovers import UNFINISHED
from images.report import PROOF_LABEL
from tests.images.projects import BuildEnvironment, copy_project, with_recipe

pytestmark = [pytest.mark.engine, pytest.mark.index]

ASSEMBLE = ("--builder", "assemble")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def hello(locked_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the web application for this file."""
    return copy_project(locked_project, tmp_path_factory.mktemp("hello"))


@pytest.fixture(scope="module")
def report(build_env: BuildEnvironment, hello: Path, cache: Path) -> dict[str, Any]:
    arguments = (*with_recipe(hello), "--tag", "hello:assembled", *ASSEMBLE)
    return build_env.build_report(*arguments, XDG_CACHE_HOME=str(cache))


def layers(build_env: BuildEnvironment, image: str) -> list[str]:
    found = build_env.inspect(image)["RootFS"]["Layers"]
    assert isinstance(found, list)
    return found


def test_has_the_files_and_the_settings_of_the_built_image(
    build_env: BuildEnvironment, hello: Path, report: dict[str, Any]
) -> None:
    """The same paths, modes, owners and content as from the Dockerfile, and the same proof."""
    arguments = (*with_recipe(hello), "--tag", "hello:built")
    built = build_env.build_report(*arguments)
    assert report["relayed"] > 0
    assert report["elsewhere"] == 0
    assert report["proof_verdict"] == "passed"
    assert report["files_sha256"] == built["files_sha256"]
    assert report["distributions"] == built["distributions"]
    assert report["built_with"] == built["built_with"]
    assembled, other = (build_env.inspect(f"hello:{tag}") for tag in ("assembled", "built"))
    settings = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Labels")
    assert {name: assembled["Config"].get(name) for name in settings} == {
        name: other["Config"].get(name) for name in settings
    }
    assert assembled["Config"]["Labels"][PROOF_LABEL] == "passed"


def test_two_folders_and_an_empty_cache_give_the_same_digest(
    build_env: BuildEnvironment, hello: Path, report: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy_project(hello, folder)
    arguments = (*with_recipe(folder), "--tag", "hello:again", *ASSEMBLE)
    again = build_env.build_report(*arguments, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert again["relayed"] > 0, "nothing came from a cache"
    assert again["id"] == report["id"]


def test_a_change_of_the_source_makes_two_layers(
    build_env: BuildEnvironment,
    hello: Path,
    cache: Path,
    report: dict[str, Any],
    tmp_path: Path,
) -> None:
    project = copy_project(hello, tmp_path)
    before = layers(build_env, "hello:assembled")
    (project / "src/hello/more.py").write_text("VALUE = 1\n")
    arguments = (*with_recipe(project), "--tag", "hello:changed", *ASSEMBLE)
    changed = build_env.build_report(*arguments, XDG_CACHE_HOME=str(cache))
    assert changed["proof_verdict"] == "passed"
    after = layers(build_env, "hello:changed")
    assert after[:-2] == before[:-2]
    assert after[-2] != before[-2]


def test_an_unchanged_project_runs_no_step(
    build_env: BuildEnvironment, hello: Path, cache: Path, report: dict[str, Any]
) -> None:
    arguments = (*with_recipe(hello), "--tag", "hello:assembled", *ASSEMBLE)
    again = build_env.build_report(*arguments, "--no-proof", XDG_CACHE_HOME=str(cache))
    assert again["relayed"] == 0
    assert again["files_sha256"] == report["files_sha256"]


def test_leaves_no_container_volume_or_name(
    build_env: BuildEnvironment, report: dict[str, Any]
) -> None:
    assert not build_env.engine.docker("ps", "--all", "--quiet").strip()
    assert not build_env.engine.docker("volume", "ls", "--quiet").strip()
    assert not [name for name in build_env.list_images() if name.startswith(UNFINISHED)]
