"""The options of `build-image` that need neither an engine nor a mirror."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.commands.build_image import _read_output, build_image
from images.application_recipe import load_application_recipe
from mirror.core.errors import InputError, MirrorError
from tests.kubernetes_api import MemoryApi, serve_api
from tests.unit.cli.run_command import run_command

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
        *("--tar", "--explain", "--set", "--package"),
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
        ((".", "--tar", "/nowhere/x.tar"), "cannot write /nowhere/x.tar"),
        ((".", "--output", "/nowhere/x.tar"), "cannot write /nowhere/x.tar"),
        ((".", "--set", "nonsense"), "not KEY=VALUE in TOML"),
        ((".", "--set", "nonsense=1"), "cannot use --set"),
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


@pytest.mark.parametrize(
    "arguments",
    [("--tag", "x:1"), ("--push",), ("--extra", "web"), ("--builder", "assemble")],
)
def test_refuses_options_that_the_mirrors_image_does_not_take(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(build_image, ["mirror", *arguments])
    assert result.exit_code == 2
    assert f"build-image mirror takes no {arguments[0]}" in result.output


UNREACHABLE = "unix:///nowhere/docker.sock"


@pytest.mark.parametrize(
    ("change", "arguments", "part"),
    [
        ("requirements.txt", (), "no lock"),
        ("", ("--tag", "BAD TAG"), "not an image reference"),
        ("", ("--extra", "nonsense"), "nonsense"),
        ("", ("--vendor", "nonsense=x.whl"), "nonsense"),
        ("", ("--vendor", "idna=nowhere.whl"), "nowhere.whl does not exist"),
        ("", ("--package", "nonsense"), "no package 'nonsense'"),
    ],
    ids=("no-lock", "tag", "extra", "vendor", "vendored-file", "package"),
)
def test_inputs_are_checked_before_the_engine_is_asked(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    arguments: tuple[str, ...],
    part: str,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", UNREACHABLE)
    if change:
        (project / change).unlink()
    result = run_command(monkeypatch, "build-image", str(project), *arguments)
    assert result.code == 2, result.err
    assert part in result.err
    assert "Docker engine" not in result.err
    assert result.get_line("next")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("--deliver", "nodes"), 3, "no --import-command was given"),
        (("--deliver", "auto"), 3, "no way to bring the image to the nodes"),
        (("--deliver", "carrier"), 2, "no delivery method 'carrier'"),
        (("--deliver", "auto", "--registry", "registry.example:5000"), 3, "no Docker engine"),
        (("--registry", "registry.example:5000"), 3, "no Docker engine"),
    ],
    ids=("not-usable", "none-usable", "unknown", "auto", "option-alone"),
)
def test_a_delivery_method_is_chosen_before_the_engine_is_asked(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    part: str,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", UNREACHABLE)
    monkeypatch.setenv("PATH", str(tmp_path))  # no microk8s and no kind on this machine
    with serve_api(MemoryApi()) as served:
        kubeconfig = served.write_kubeconfig(tmp_path / "config")
        options = ("--kubeconfig", str(kubeconfig), *arguments)
        result = run_command(monkeypatch, "build-image", str(project), *options)
    assert result.code == code, result.err
    assert part in result.err
    assert "--image" not in result.get_line("next")


def test_output_is_the_format_and_still_takes_a_tar(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--output x.tar` was the option for the tar, `--format` that of the format."""
    chosen = []
    monkeypatch.setattr(
        "cli.build_workflow.run_application_build",
        lambda build, _target, output: chosen.append((build.archive, output)),
    )
    for arguments in (
        ("-o", "json"),
        ("--output", "yaml"),
        ("--format", "json"),
        ("--output", "x.tar"),
        ("--output", "x.tar", "--format", "json"),
        ("--tar", "x.tar", "-o", "json"),
    ):
        run(project, *arguments)
    tar = Path("x.tar")
    assert chosen == [
        *((None, "json"), (None, "yaml"), (None, "json")),
        *((tar, "table"), (tar, "json"), (tar, "json")),
    ]
    result = run_command(monkeypatch, "build-image", str(project), "-o", "jsno")
    assert result.code == 2
    assert "'jsno' is not one of table, json, yaml" in result.err


def test_explains_what_was_concluded_without_an_engine(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", UNREACHABLE)
    (project / "Dockerfile").write_text("FROM python:3.12\nRUN make assets\n")
    text = run(project, "--explain", "--extra", "web")
    assert "(Procfile:1)" in text
    assert "python3 -m hello" in text
    assert "requirements.txt: 1 distributions" in text
    assert "Dockerfile:2: make assets" in text
    assert "web  (given to this command)" in text
    document = json.loads(run(project, "--explain", "-o", "json"))
    assert document["recipe"]["name"] == "hello"
    assert document["conclusions"][0]["line"]["file"]
    (project / "requirements.txt").unlink()
    assert "has no lock" in run(project, "--explain"), "what a build would refuse is explained too"


def test_explains_a_recipe_by_its_lines(project: Path) -> None:
    text = run("chronicle", "--source", project, "--explain")
    assert "chronicle.toml:" in text
    assert "build-essential" in text


def test_the_tar_and_the_format_may_both_be_given_as_output() -> None:
    """--output FILE was the option for the tar, beside -o."""
    assert _read_output(("image.tar", "json"), None) == (Path("image.tar"), "json")
    assert _read_output((), Path("x.tar")) == (Path("x.tar"), "table")
