"""`build-image`'s options that need neither an engine nor a mirror."""

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


def ask(*words: str | Path) -> str:
    done: Result = CliRunner().invoke(build_image, [str(word) for word in words])
    if isinstance(done.exception, MirrorError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_every_option_of_the_page_is_one() -> None:
    text = ask("--help")
    for one in (
        *("--list", "--source", "--recipe", "--extra", "--base", "--tag", "--mirror", "--vendor"),
        *("--apt-mirror", "--push", "--deliver", "--output", "--print", "--no-proof", "--report"),
    ):
        assert f"{one} " in text


def test_a_printed_recipe_is_one_to_build_by(project: Path) -> None:
    words = ("--extra", "web", "--base", "debian-python:1", "--print", "recipe")
    printed = ask(project, *words)
    told = tomllib.loads(printed)
    assert (told["name"], told["base"], told["extras"]) == ("hello", "debian-python:1", ["web"])
    assert told["starts"][0]["argv"] == ["python3", "-m", "hello"]
    own = project / "own.toml"
    own.write_text(printed)
    assert load_application_recipe(own).extras == ("web",)
    assert ask(project, "--recipe", own, "--print", "recipe") == printed
    assert ask("--source", project, "--recipe", own, "--print", "recipe") == printed


def test_a_printed_dockerfile_is_what_would_be_built(project: Path) -> None:
    text = ask(project, "--base", "debian-python:1", "--print", "dockerfile")
    assert text.startswith("FROM debian-python:1 AS builder\n")
    assert '"--require-hashes"' in text
    assert 'CMD ["python3", "-m", "hello"]' in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ((), "which recipe"),
        (("nonsense",), "no recipe 'nonsense'"),
        (("chronicle",), "where is the source of chronicle"),
        ((".", "--output", "/nowhere/x.tar"), "cannot write /nowhere/x.tar"),
        ((".", "--report", "/"), "cannot write /"),
        ((".", "--vendor", "x"), "not NAME=WHEEL|DIR|URL"),
        ((".", "--recipe", "/nowhere.toml"), "cannot use /nowhere.toml"),
        ((".", "--extra", "nonsense", "--print", "dockerfile"), "no extra nonsense"),
        (("file:///nowhere/x.git@v1",), "cannot fetch file:///nowhere/x.git"),
    ],
)
def test_what_cannot_be_meant(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], part: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(InputError) as refused:
        ask(*words)
    assert part in refused.value.what
    assert refused.value.next_step


@pytest.mark.parametrize("words", [("--tag", "x:1"), ("--push",), ("--extra", "web")])
def test_what_the_mirrors_own_image_does_not_take(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(build_image, ["mirror", *words])
    assert done.exit_code == 2
    assert f"build-image mirror takes no {words[0]}" in done.output
