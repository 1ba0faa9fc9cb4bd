"""`mirror fix`, `rollback`, `attach`: what is said of bad words, and of no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli.commands import fixes
from cli.mirror import mirror
from mirror.core.errors import MirrorError


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    """A kubeconfig of a cluster that does not answer."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fix", "nope"], 2, "no fix 'nope'"),
        (
            ["fix", "dns", "--keep", "a.home.example"],
            2,
            "--keep is an option of fix search-domains",
        ),
        (["fix", "dns", "--yes"], 3, "does not answer"),
        (["fix"], 3, "does not answer"),
        (["rollback", "nope"], 2, "no fix 'nope'"),
        (["rollback"], 3, "does not answer"),
        (["fix", "dns", "--restart", "all"], 2, "--restart belongs to fix pod-sysctl"),
        (["fix", "pod-sysctl", "--restart", " "], 2, "no selector"),
        (["fix", "pod-sysctl", "--restart-system"], 2, "without --restart"),
        (["up", "--with-fixes"], 2, "nobody to ask"),
        (["up", "--with-fixes", "--local"], 2, "--with-fixes: not with --local"),
        (["up", "--with-fixes", "--yes"], 3, "does not answer"),
        (["attach"], 2, "which workloads?"),
        (["attach", "deployment/x", "-l", "a=b"], 2, "together"),
        (["attach", "job/x"], 2, "job/x cannot be attached"),
        (["attach", "x"], 2, "not a workload: 'x'"),
        (["attach", "deployment/x", "--no-index"], 2, "nothing to do"),
        (["attach", "deployment/x"], 3, "does not answer"),
        (["detach", "-n", "x"], 3, "does not answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_clear_error(nowhere: str, words: list[str], code: int, said: str) -> None:
    argv = [*words, "--kubeconfig", nowhere, "--timeout", "10"]
    done = CliRunner().invoke(mirror, argv)
    assert isinstance(done.exception, MirrorError)
    assert done.exception.exit_code == code
    assert said in done.exception.what


@pytest.mark.parametrize("command", ["fix", "rollback", "attach", "detach"])
def test_help_has_examples(command: str) -> None:
    done = CliRunner().invoke(mirror, [command, "--help"])
    assert done.exit_code == 0
    assert f"mirror {command}" in done.output


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--keep"], ["--keeper"]),
        (["--keep", "all"], ["--keeper", "all"]),
        (["all", "--keep", "-y"], ["all", "--keeper", "-y"]),
        (["--keep", "--image", "a.b/c:1"], ["--keeper", "--image", "a.b/c:1"]),
        (["--keep", "nas.home.example"], ["--keep", "nas.home.example"]),
        (["--keep=nas.home.example"], ["--keep=nas.home.example"]),
        (["--keep-aaaa", "a.b", "--keep"], ["--keep-aaaa", "a.b", "--keeper"]),
        ([], []),
    ],
)
def test_keep_alone_is_the_keeper_and_with_a_host_it_is_not(
    given: list[str], meant: list[str]
) -> None:
    assert fixes.fix.words(given) == meant
