"""`mirror fix`, `rollback`, `attach`: errors for wrong arguments, and without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cli import fix_workflow
from cli.mirror import mirror
from deploy.cluster.client import Cluster
from mirror.core.errors import MirrorError
from tests.kubernetes_api import DirectCluster, MemoryApi


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
    ("words", "code", "message"),
    [
        (["fix", "nope"], 2, "no fix 'nope'"),
        (
            ["fix", "dns", "--keep-name", "a.home.example"],
            2,
            "--keep-name is an option of fix search-domains",
        ),
        (["fix", "--keep", "a.home.example"], 2, "no fix 'a.home.example'"),
        (["fix", "--keep"], 3, "does not answer"),
        (["fix", "dns", "--yes"], 3, "does not answer"),
        (["fix"], 3, "does not answer"),
        (["rollback", "nope"], 2, "no fix 'nope'"),
        (["rollback"], 3, "does not answer"),
        (["fix", "dns", "--restart", "all"], 2, "--restart belongs to fix pod-sysctl"),
        (["fix", "pod-sysctl", "--restart", " "], 2, "needs a selector"),
        (["fix", "pod-sysctl", "--restart-system"], 2, "needs --restart"),
        (["up", "--with-fixes"], 2, "nobody can confirm it"),
        (["up", "--with-fixes", "--local"], 2, "--kubeconfig cannot be used with --local"),
        (["up", "--with-fixes", "--yes"], 3, "does not answer"),
        (["attach"], 2, "no workload was named"),
        (["attach", "deployment/x", "-l", "a=b"], 2, "cannot be combined"),
        (["attach", "job/x"], 2, "job/x cannot be attached"),
        (["attach", "x"], 2, "not a workload: 'x'"),
        (["attach", "deployment/x", "--no-index"], 2, "nothing to do"),
        (["attach", "deployment/x"], 3, "does not answer"),
        (["detach", "-n", "x"], 3, "does not answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_reports_one_clear_error(nowhere: str, words: list[str], code: int, message: str) -> None:
    argv = [*words, "--kubeconfig", nowhere, "--timeout", "10"]
    done = CliRunner().invoke(mirror, argv)
    assert isinstance(done.exception, MirrorError)
    assert done.exception.exit_code == code
    assert message in done.exception.what


@pytest.mark.parametrize("command", ["fix", "rollback", "attach", "detach"])
def test_help_has_examples(command: str) -> None:
    done = CliRunner().invoke(mirror, [command, "--help"])
    assert done.exit_code == 0
    assert f"mirror {command}" in done.output


def test_agents_are_refreshed_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """They forgot the interrupted change; what is still applied is reconciled."""
    calls: list[str] = []
    monkeypatch.setattr(fix_workflow, "refresh_agents", lambda _: calls.append("refresh"))

    def remove_idle_agents(_: Cluster, *, rolled_back: bool) -> tuple[str, ...]:
        calls.append("remove idle")
        return ()

    monkeypatch.setattr(fix_workflow, "remove_idle_agents", remove_idle_agents)
    cluster = DirectCluster(MemoryApi())
    with (
        pytest.raises(MirrorError, match="not proved"),
        fix_workflow.without_idle_agents(cluster),
    ):
        raise MirrorError("not proved")
    assert calls == ["refresh", "remove idle"]
    with fix_workflow.without_idle_agents(cluster):
        pass
    assert calls == ["refresh", "remove idle", "remove idle"]
