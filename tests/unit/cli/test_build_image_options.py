"""The options of `build-image` that need neither an engine nor a mirror."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.commands.build_image import build_image
from images.application_recipe import load_application_recipe
from mirror.core.errors import InputError, MirrorError

PROJECT = """\
[project]
name = "hello"
version = "1.0"
requires-python = ">=3.11"
[project.optional-dependencies]
web = []
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "requirements.txt").write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "Procfile").write_text("web: python3 -m hello\n")
    return tmp_path


def run(*arguments: str | Path) -> str:
    """Run `build-image` and return its output; raise its error."""
    result: Result = CliRunner().invoke(build_image, [str(word) for word in arguments])
    if isinstance(result.exception, MirrorError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_help_lists_every_documented_option() -> None:
    text = run("--help")
    for option in (
        *("--list", "--source", "--recipe", "--extra", "--base", "--tag", "--mirror", "--vendor"),
        *("--apt-mirror", "--push", "--deliver", "--output", "--print", "--no-proof", "--report"),
    ):
        assert f"{option} " in text


def test_a_printed_recipe_can_be_used(project: Path) -> None:
    arguments = ("--extra", "web", "--base", "debian-python:1", "--print", "recipe")
    printed = run(project, *arguments)
    recipe = tomllib.loads(printed)
    assert (recipe["name"], recipe["base"], recipe["extras"]) == (
        "hello",
        "debian-python:1",
        ["web"],
    )
    assert recipe["starts"][0]["argv"] == ["python3", "-m", "hello"]
    own = project / "own.toml"
    own.write_text(printed)
    assert load_application_recipe(own).extras == ("web",)
    assert run(project, "--recipe", own, "--print", "recipe") == printed
    assert run("--source", project, "--recipe", own, "--print", "recipe") == printed


def test_prints_the_dockerfile_of_the_build(project: Path) -> None:
    text = run(project, "--base", "debian-python:1", "--print", "dockerfile")
    assert text.startswith("FROM debian-python:1 AS builder\n")
    assert '"--require-hashes"' in text
    assert 'CMD ["python3", "-m", "hello"]' in text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "no recipe was named"),
        (("nonsense",), "no recipe 'nonsense'"),
        (("chronicle",), "recipe chronicle needs the source"),
        ((".", "--output", "/nowhere/x.tar"), "cannot write /nowhere/x.tar"),
        ((".", "--report", "/"), "cannot write /"),
        ((".", "--vendor", "x"), "not NAME=WHEEL|DIR|URL"),
        ((".", "--recipe", "/nowhere.toml"), "cannot use /nowhere.toml"),
        ((".", "--extra", "nonsense", "--print", "dockerfile"), "no extra nonsense"),
        (("file:///nowhere/x.git@v1",), "cannot fetch file:///nowhere/x.git"),
    ],
)
def test_refuses_bad_input(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], part: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(InputError) as refused:
        run(*arguments)
    assert part in refused.value.what
    assert refused.value.next_step


@pytest.mark.parametrize("arguments", [("--tag", "x:1"), ("--push",), ("--extra", "web")])
def test_refuses_options_that_the_mirrors_image_does_not_take(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(build_image, ["mirror", *arguments])
    assert result.exit_code == 2
    assert f"build-image mirror takes no {arguments[0]}" in result.output
