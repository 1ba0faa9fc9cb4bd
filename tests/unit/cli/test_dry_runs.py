"""`--dry-run` of every command that has it writes nothing, and what it leaves out is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.mirror import mirror
from deploy.fix_registry import build_engine
from deploy.lifecycle.publish import publish_environment
from tests.unit.cli.memory_lab import apply_dns_fix
from tests.unit.cli.run_command import run_command
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster

# the words of each command with --dry-run, on a cluster where they change something
CASES = {
    "attach": [
        "attach deployment/backend -n shop",
        "attach -n shop --ndots --no-index",
        "attach -l app=backend -n shop --force",
    ],
    "detach": ["detach deployment/backend -n shop", "detach -n shop --force"],
    "down": ["down --purge"],
    "env": ["env --publish shop default"],
    "fix": ["fix dns", "fix dns --keep --force", "fix all", "fix pod-sysctl"],
    "rollback": ["rollback", "rollback dns", "rollback --force"],
    "uninstall": ["uninstall", "uninstall --force"],
    "up": [
        "up --image m:2",
        "up --image m:1 --new-address",
        "up --image m:1 --with-fixes",
        "up --image m:1 --size 30Gi",
    ],
    "warm": ["warm requests"],
}
LOCAL_CASES = {
    "env": ["env --local"],
    "down": ["down --purge --local"],
    "up": ["up --local", "up --local --port 3200"],
    "warm": ["warm requests --local"],
}
FORMATS = ["", "-o json"]


def list_commands_with_dry_run(option: str) -> set[str]:
    """Return the commands that have --dry-run and another option."""
    context = click.Context(mirror)
    commands = {name: mirror.get_command(context, name) for name in mirror.list_commands(context)}
    return {
        name
        for name, command in commands.items()
        if command and {"--dry-run", option} <= {text for p in command.params for text in p.opts}
    }


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install()
        publish_environment(lab.cluster, "pypi-mirror", ["shop"])
        yield lab


def prepare(lab: WholeClusterLab, words: str) -> None:
    """Attach a workload and apply a fix: something to detach and to roll back."""
    if words.startswith("down"):
        return  # it would be refused
    assert lab.list_writes_of("attach", "deployment/attached", "-n", "shop", "--yes")
    apply_dns_fix(build_engine(lab.cluster))


def list_probe_pods(writes: list[str]) -> list[str]:
    """Return the writes of the pods that look at the network of each node: they are temporary."""
    return [
        line for line in writes if "/pods/pypi-mirror-doctor-" in line or line.endswith("/pods")
    ]


def test_every_dry_run_is_tested() -> None:
    assert set(CASES) == list_commands_with_dry_run("--kubeconfig")
    assert set(LOCAL_CASES) == list_commands_with_dry_run("--local")


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("words", [words for cases in CASES.values() for words in cases])
def test_a_dry_run_writes_nothing(lab: WholeClusterLab, words: str, output: str) -> None:
    prepare(lab, words)
    before = lab.api.dump()
    writes = lab.list_writes_of(*words.split(), *output.split(), "--dry-run")
    assert writes == list_probe_pods(writes)
    if not words.startswith(("fix", "up --image m:1 --with-fixes")):
        assert writes == []
    assert lab.api.dump() == before


@pytest.mark.parametrize(
    "words",
    [
        "attach deployment/backend -n shop",
        "detach deployment/attached -n shop",
        "detach -n shop",
        "down --purge",
        "rollback",
        "rollback dns",
        "uninstall",
    ],
)
def test_the_same_words_without_it_write(lab: WholeClusterLab, words: str) -> None:
    """So the dry runs above leave something out."""
    prepare(lab, words)
    before = lab.api.dump()
    assert lab.list_writes_of(*words.split(), "--yes")
    assert lab.api.dump() != before


@pytest.mark.parametrize("words", [words for cases in LOCAL_CASES.values() for words in cases])
def test_a_local_dry_run_creates_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for name in ("DATA", "STATE", "CONFIG", "CACHE", "RUNTIME"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "RUNTIME"))
    monkeypatch.setenv("HOME", str(tmp_path))
    run_command(monkeypatch, "mirror", *words.split(), "--dry-run")
    assert list(tmp_path.rglob("*")) == []


def test_a_publication_is_checked_but_not_made(lab: WholeClusterLab) -> None:
    result = lab.run("env", "--publish", "shop", "default", "--dry-run")
    url = "http://10.152.183.50:3141/workloads/stable/+simple/"
    assert result.out == (
        f"would be published in shop: ConfigMap pypi-mirror-env  ({url})\n"
        f"would be published in default: ConfigMap pypi-mirror-env  ({url})\n"
    )
    assert not lab.api.has("ConfigMap", "pypi-mirror-env", "default")
    assert lab.run("env", "--publish", "shop", "nowhere", "--dry-run").code == 2
    assert lab.list_writes_of("env", "--publish", "shop", "default")
    assert lab.api.has("ConfigMap", "pypi-mirror-env", "default")


def test_uninstall_lists_everything_for_programs(lab: WholeClusterLab) -> None:
    prepare(lab, "uninstall")
    result = lab.run("uninstall", "--dry-run", "-o", "json")
    document = json.loads(result.out)
    assert set(document) == {"rollback", "detach", "purge", "others", "unproven"}
    assert "Secret/pypi-mirror" in document["purge"]["objects"]
    assert "attached" in str(document["detach"])
    assert "coredns" in str(document["rollback"])
    assert "\nnothing was removed\n" in lab.run("uninstall", "--dry-run").out


def test_a_plan_names_targets_and_reasons_for_programs(lab: WholeClusterLab) -> None:
    document = json.loads(lab.run("fix", "dns", "--dry-run", "-o", "json").out)
    changes = [change for fix in document["fixes"] for change in fix["changes"]]
    assert changes == [
        {
            "target": "ConfigMap kube-system/coredns key Corefile",
            "why": "AAAA queries are answered NOERROR without records",
        }
    ]


def test_up_shows_which_objects_change(lab: WholeClusterLab) -> None:
    """A change of labels alone is a change."""
    lab.api.edit("Service", "pypi-mirror", "pypi-mirror", lambda obj: obj["metadata"].pop("labels"))
    steps = json.loads(lab.run("up", "--image", "m:1", "--dry-run", "-o", "json").out)
    actions = {step["kind"]: step["action"] for step in steps}
    assert actions["Service"] == "change"
    assert actions["PersistentVolumeClaim"] == "nothing"
