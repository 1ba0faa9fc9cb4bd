"""The exit code of every command, by what happens: README.md says what each code means."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.mirror import mirror
from mirror.core.wait import Deadline
from tests.kubernetes_api import Rule
from tests.kubernetes_api.store import ObjectStore
from tests.unit.cli.run_command import CommandResult, run_command
from tests.unit.cli.running_mirror import LOCK, end_verify_pods, prepare_store, run_mirror
from tests.unit.cli.whole_cluster import WholeClusterLab
from tests.wheels import make_wheel

COMMANDS = mirror.list_commands(click.Context(mirror))
# the words with which each command succeeds in the cluster below
SUCCESS = {
    "up": "up --image m:2 --dry-run",
    "status": "status",
    "logs": "logs",
    "down": "down",
    "uninstall": "uninstall --yes",
    "manifests": "manifests --image m:1",
    "env": "env",
    "lock": "lock from uv.lock",
    "attach": "attach deployment/backend -n shop --yes",
    "detach": "detach deployment/attached -n shop --yes",
    "warm": "warm requests --detach",
    "add": "add acme-1.0-py3-none-any.whl",
    "reserve": "reserve acme",
    "explain": "explain requests",
    "list": "list",
    "verify": "verify",
    "doctor": "doctor",
    "fix": "fix dns --dry-run",
    "rollback": "rollback --yes",
    "completion": "completion bash",
}
WITH_CLUSTER = [name for name in COMMANDS if name not in {"completion", "manifests"}]
WITH_FAKE_INDEX = {"add", "explain", "reserve", "list", "lock"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    return prepare_store(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> Iterator[WholeClusterLab]:
    with run_mirror(store, tmp_path, monkeypatch) as lab:
        yield lab


def test_every_command_is_tested() -> None:
    assert list(SUCCESS) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_0_means_done(lab: WholeClusterLab, command: str) -> None:
    words = SUCCESS[command].split()
    if command in {"lock", "completion"}:
        lab.options = ()
    result = lab.run(*words)
    assert result.code == 0, result.out + result.err
    assert "error:" not in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_2_means_wrong_input(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    result = run_command(monkeypatch, "mirror", *SUCCESS[command].split(), "--nonsense")
    assert result.code == 2
    assert "no such option: --nonsense" in result.err
    assert result.get_line("next").endswith("--help")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("status --mirror-namespace default", "absent"),
        ("verify", "1 wrong, 0 repaired"),
        ("doctor", "no pod behind the DNS Service"),
    ],
    ids=lambda value: value.split()[0],
)
def test_1_means_that_something_is_wrong(lab: WholeClusterLab, words: str, said: str) -> None:
    """The command did what it does; what it found, or reached, is not right."""
    flaw = {"file": "f", "private": True, "state": "corrupt", "outcome": "found", "next_step": "n"}
    lab.api.after_write.insert(0, end_verify_pods(flaw))
    lab.api.remove("Pod", "coredns-1", "kube-system")
    result = lab.run(*words.split())
    assert result.code == 1, result.out + result.err
    assert said in result.out + result.err


def edit_environment(workload: Any) -> None:
    """Put something else where `mirror attach` wrote."""
    container = workload["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "theirs"}}]


def edit_corefile(config_map: Any) -> None:
    text = config_map["data"]["Corefile"]
    config_map["data"]["Corefile"] = text.replace("AAAA", "ANY")


@pytest.mark.parametrize(
    "words",
    [
        "add taken-1.0-py3-none-any.whl",
        "add taken-1.0-py3-none-any.whl acme-1.0-py3-none-any.whl",
        "detach deployment/attached -n shop --yes",
        "down --purge --yes",
        "env --publish default",
        "rollback dns --yes",
        "up --image m:1 --size 1Gi",
    ],
)
def test_5_means_that_it_refuses(lab: WholeClusterLab, words: str) -> None:
    """Something would be lost, or belongs to somebody else. It stays as it is."""
    lab.api.edit("Deployment", "attached", "shop", edit_environment)
    lab.api.edit("ConfigMap", "coredns", "kube-system", edit_corefile)
    theirs = {"name": "pypi-mirror-env", "namespace": "default"}
    lab.api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": theirs, "data": {"A": "1"}})
    result = lab.run(*words.split())
    assert result.code == 5, result.out + result.err
    assert result.get_line("why")
    kept = lab.api.read("Deployment", "attached", "shop")["spec"]["template"]["spec"]
    assert kept["containers"][0]["envFrom"] == [{"configMapRef": {"name": "theirs"}}]
    assert "ANY" in lab.api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"]
    assert lab.api.read("ConfigMap", "pypi-mirror-env", "default")["data"] == {"A": "1"}
    assert lab.api.has("PersistentVolumeClaim", "pypi-mirror-data", "pypi-mirror")


# -- without a cluster that answers ---------------------------------------------------------------


class ExpiredDeadline:
    """Makes deadlines that are over."""

    @staticmethod
    def after(_: float) -> Deadline:
        return Deadline.after(0)


@pytest.fixture
def run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str, str], CommandResult]:
    """Return a function that runs a command with an API server at an address."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    make_wheel(tmp_path, "acme", "1.0", "")
    Path("uv.lock").write_text(LOCK)

    def run(command: str, address: str, timeout: str) -> CommandResult:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "x", "cluster": {"server": f"http://{address}"}}],
            "users": [{"name": "x", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        Path("kubeconfig").write_text(yaml.safe_dump(config))
        words = [*SUCCESS[command].split(), "--kubeconfig", "kubeconfig", "--timeout", timeout]
        return run_command(monkeypatch, "mirror", *words)

    return run


@pytest.mark.parametrize("command", WITH_CLUSTER)
def test_3_means_that_the_cluster_is_not_suitable(
    run_elsewhere: Callable[[str, str, str], CommandResult], command: str
) -> None:
    result = run_elsewhere(command, "127.0.0.1:1", "20")
    assert result.code == 3, result.err
    assert "the API server of context x does not answer" in result.err
    assert result.get_line("why") and result.get_line("next")


@pytest.mark.parametrize("command", WITH_CLUSTER)
def test_4_means_that_time_ran_out(
    run_elsewhere: Callable[[str, str, str], CommandResult],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setattr("cli.options.Deadline", ExpiredDeadline)
    result = run_elsewhere(command, "127.0.0.1:1", "20")
    assert result.code == 4, result.err
    assert "timed out" in result.err
    assert result.get_line("next") == "give more time, such as --timeout 5m"


def test_a_server_that_says_nothing(
    run_elsewhere: Callable[[str, str, str], CommandResult],
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        result = run_elsewhere("env", f"127.0.0.1:{silent.getsockname()[1]}", "1")
    assert result.code == 4, result.err


@pytest.mark.parametrize("command", ["manifests", "completion"])
def test_some_commands_need_no_cluster(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert run_command(monkeypatch, "mirror", *SUCCESS[command].split()).code == 0


# -- what goes wrong in a cluster -----------------------------------------------------------------


@pytest.mark.parametrize("command", [name for name in WITH_CLUSTER if name not in WITH_FAKE_INDEX])
def test_a_user_without_rights(lab: WholeClusterLab, command: str) -> None:
    """The right that is missing is named, and nothing is written. doctor shows what is left."""
    lab.log_in(lab.api.add_user("nobody", [Rule("get", "unknown")]))
    before = lab.api.dump()
    result = lab.run(*SUCCESS[command].split(), "--timeout", "20")
    assert result.code == (0 if command == "doctor" else 3), result.out + result.err
    assert "cannot" in result.out + result.err or "may not" in result.out + result.err
    assert lab.api.dump() == before
