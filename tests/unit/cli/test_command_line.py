"""The console scripts as users run them; no test here needs a cluster."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from cli.commands.build_image import build_image
from cli.mirror import mirror
from deploy.changes import lease, ledger
from deploy.lifecycle.preflight import list_required_permissions
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings
from deploy.repair import corefile_trial
from tests.conftest import RunProgram
from tests.unit.cli.run_command import run_command

COMMANDS = mirror.list_commands(click.Context(mirror))
DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(mirror, [command, "--help"], prog_name="mirror")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: mirror {command}")
    assert len(done.stdout.splitlines()) > 8


@pytest.mark.parametrize("words", [("mirror",), *(("mirror", name) for name in COMMANDS)])
def test_help_fits_80_columns(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(mirror, [*words[1:], "--help"], prog_name="mirror")
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_help_of_build_image_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(build_image, ["--help"], prog_name="build-image").stdout
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_the_overview_fits_one_line_for_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(mirror, ["--help"]).stdout.splitlines()
    assert [line for line in shown if line.startswith("   " + " " * 8)] == []


def test_manifests_are_yaml_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of several lines are blocks, and nothing is an anchor."""
    result = run_command(monkeypatch, "mirror", "manifests", "--image", "m:1")
    assert "\n  nginx.conf: |\n    daemon off;\n" in result.out
    assert not re.search(r"[&*]id\d", result.out)
    rendered = render_objects(ClusterSettings(image="m:1"))
    assert list(yaml.safe_load_all(result.out)) == json.loads(json.dumps(rendered))


def test_the_overview_lists_the_first_sentence_of_every_command() -> None:
    """The overview has its own copy of the sentences, so that it loads no command."""
    shown = CliRunner().invoke(mirror, ["--help"], terminal_width=120).stdout
    for name in COMMANDS:
        command = mirror.get_command(click.Context(mirror), name)
        assert command is not None
        sentence = command.get_short_help_str(limit=200)
        assert re.search(rf"^  {name} +{re.escape(sentence)}$", shown, re.MULTILINE), name


def test_the_overview_imports_no_command() -> None:
    script = (
        "import sys; from cli.mirror import mirror; mirror(['--help'], standalone_mode=False); "
    )
    script += "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert "Repair a cluster:" in done.stdout
    heavy = ("cli.commands", "cli.options", "deploy", "images", "rich", "urllib3", "difflib")
    assert not [name for name in done.stdout.split() if name.startswith(heavy)]


def test_no_command_imports_the_generated_classes_of_the_client() -> None:
    """They take half a second to import, and no command needs them."""
    script = (
        "import cli.mirror, deploy.doctor.run, deploy.lifecycle.up, sys; "
        "print(*sys.modules, sep=chr(10))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    loaded = done.stdout.split()
    assert "kubernetes.client.api_client" in loaded
    assert not [name for name in loaded if name.startswith("kubernetes.client.api.")]


@pytest.mark.parametrize(
    "words",
    [
        ("mirror", "nonsense"),
        ("mirror", "up", "--nonsense"),
        ("mirror", "up", "--local", "--port", "x"),
        ("mirror", "env", "--publish"),
        ("mirror", "env", "chronicle"),
        ("mirror", "env", "--local", "--publish", "chronicle"),
        ("mirror", "status", "--namespace", "Not_A_Name"),
        ("build-image",),
        ("build-image", "nonsense"),
    ],
)
def test_bad_usage_exits_with_2_and_no_traceback(
    program: RunProgram, words: tuple[str, ...]
) -> None:
    done = program(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr


def test_the_recipes_are_listed(program: RunProgram) -> None:
    listed = program("build-image", "--list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["chronicle", "mirror"]


def test_without_a_kubeconfig_the_error_suggests_local(program: RunProgram, tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = program("mirror", "status", env=env)
    assert done.returncode == 3
    assert "--local" in done.stderr


def test_manifests_need_no_cluster(program: RunProgram, tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = program("mirror", "manifests", "--image", "registry.example/m:1", env=env)
    assert done.returncode == 0
    assert "kind: StatefulSet" in done.stdout
    assert "kind: Secret" not in done.stdout


def test_status_as_json_is_json_even_when_absent(program: RunProgram, tmp_path: Path) -> None:
    env = {f"XDG_{what}_HOME": str(tmp_path / what) for what in ("DATA", "STATE", "CONFIG")}
    done = program("mirror", "status", "--local", "-o", "json", env=env)
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "absent"


def test_the_rights_page_lists_every_permission_of_up() -> None:
    page = (DOCS / "rights.md").read_text().partition("## Fixes")[0]
    for permission in list_required_permissions("pypi-mirror"):
        verb, resource = permission.verb, permission.resource
        (line,) = [row for row in page.splitlines() if f"resources: [{resource}]" in row]
        assert verb in line


def test_the_rights_page_lists_every_permission_of_the_fixes() -> None:
    page = (DOCS / "rights.md").read_text().partition("## Fixes")[2]
    for right in (
        *ledger.PERMISSIONS,
        *lease.PERMISSIONS,
        *corefile_trial.required_permissions("kube-system"),
    ):
        (line,) = [row for row in page.splitlines() if f"resources: [{right.resource}]" in row]
        assert right.verb in line
