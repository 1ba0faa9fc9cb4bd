"""Shell completion: the scripts, and the names that they complete."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from cli import completion as names
from cli.commands.build_image import build_image
from cli.mirror import mirror
from deploy.delivery import load_methods
from deploy.doctor.run import load_categories
from deploy.fix_registry import load_fixes
from tests.unit.cli.memory_lab import CommandLab
from tests.unit.cli.run_command import run_command


def complete(*words: str) -> list[str]:
    """Return what follows the last of the words."""
    *arguments, incomplete = words
    shell = ShellComplete(mirror, {}, "mirror", "_MIRROR_COMPLETE")
    return [item.value for item in shell.get_completions(arguments, incomplete)]


def test_completes_names() -> None:
    assert complete("fi") == ["fix"]
    assert complete("fix", "se") == ["search-domains"]
    assert complete("rollback", "dns", "pod") == ["pod-sysctl"]
    assert complete("doctor", "--category", "ip") == ["ippools", "ipv6"]
    assert complete("up", "--deliver", "micro") == ["microk8s"]
    assert complete("up", "--mirror-na") == ["--mirror-namespace"]


def test_completes_recipes() -> None:
    shell = ShellComplete(build_image, {}, "build-image", "_BUILD_IMAGE_COMPLETE")
    assert [item.value for item in shell.get_completions([], "chr")] == ["chronicle"]


def test_completes_contexts_and_namespaces(lab: CommandLab) -> None:
    options = lab.options
    assert complete("status", *options, "--context", "me") == ["memory"]
    assert complete("attach", *options, "-n", "sh") == ["shop"]
    assert complete("env", *options, "--publish", "sh") == ["shop"]


def test_completes_nothing_without_a_cluster(tmp_path: Path) -> None:
    missing = ("--kubeconfig", str(tmp_path / "none"))
    assert complete("status", *missing, "--context", "") == []
    assert complete("attach", *missing, "-n", "") == []


def test_the_lists_are_those_of_the_extensions() -> None:
    """They are read from file names, so that completion imports nothing."""
    context = mirror.make_context("mirror", ["status"], resilient_parsing=True)
    assert set(names.list_fixes(context)) == set(load_fixes())
    assert set(names.list_categories(context)) == {item.name for item in load_categories()}
    assert set(names.list_delivery_methods(context)) == {item.name for item in load_methods()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_a_script_for_both_programs(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_command(monkeypatch, "mirror", "completion", shell)
    assert result.code == 0
    assert f"_MIRROR_COMPLETE={shell}_complete" in result.out
    assert f"_BUILD_IMAGE_COMPLETE={shell}_complete" in result.out


def test_the_program_answers_the_script() -> None:
    script = "import sys; from cli.mirror import main; sys.argv[0] = 'mirror'; main()"
    request = {
        "_MIRROR_COMPLETE": "bash_complete",
        "COMP_WORDS": "mirror fix se",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **request},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "plain,search-domains\n"
