"""Secrets of the cluster and of the user go through every command, and into no output or file."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.mirror import mirror
from deploy.fix_registry import build_engine
from tests.kubernetes_api import ALL_RIGHTS
from tests.unit.cli.memory_lab import apply_dns_fix
from tests.unit.cli.whole_cluster import WholeClusterLab, render_deployment, run_whole_cluster

VARIABLE, URL, PASSWORD, TOKEN = "cnry-variable", "cnry-url", "cnry-password", "cnry-token"
CANARY = "cnry-"
ENVIRONMENT = (
    {"name": "DATABASE", "value": VARIABLE},
    {"name": "UV_INDEX_URL", "value": f"https://reader:{URL}@index.example/simple/"},
    {"name": "PIP_EXTRA_INDEX_URL", "value": f"https://{URL}@index.example/simple/"},
    {"name": "HF_TOKEN", "value": VARIABLE},
)
# words of every command that can meet a secret of the cluster
CASES = {
    "attach": ["attach deployment/backend -n shop --dry-run", "attach -n shop --ndots --yes"],
    "detach": ["detach -n shop --dry-run", "detach -n shop --yes"],
    "doctor": ["doctor", "doctor -v", "doctor --save SAVED", "doctor --bundle SAVED.tar.gz"],
    "down": ["down --purge --dry-run", "down"],
    "env": ["env", "env -o dotenv", "env -o configmap", "env --publish default"],
    "fix": ["fix", "fix dns --dry-run", "fix all --dry-run", "fix dns --yes"],
    "list": ["list"],
    "logs": ["logs"],
    "manifests": ["manifests --image m:1"],
    "rollback": ["rollback --dry-run", "rollback --yes"],
    "status": ["status"],
    "uninstall": ["uninstall --dry-run", "uninstall --yes"],
    "up": [
        "up --image m:1 --dry-run",
        "up --image m:1 --dry-run -o yaml",
        "up --image m:2 --with-fixes --dry-run",
    ],
    "verify": ["verify"],
    "warm": ["warm requests --dry-run", "warm requests --detach"],
    "reserve": ["reserve acme"],
    "add": ["add nowhere.whl"],
    "explain": ["explain requests"],
}
WITHOUT_CLUSTER = {"completion", "lock"}  # the files of the user, and the shell
JSON = {
    "status",
    "doctor",
    "fix",
    "attach",
    "detach",
    "rollback",
    "uninstall",
    "up",
    "down",
    "warm",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install(password=PASSWORD)
        seed_workload(lab, "backend", "shop")
        seed_workload(lab, "attached", "shop")
        seed_workload(lab, "coredns", "kube-system")
        lab.list_writes_of("attach", "deployment/attached", "-n", "shop", "--yes")
        apply_dns_fix(build_engine(lab.cluster))
        lab.log_in(lab.api.add_user(TOKEN, [ALL_RIGHTS]))
        yield lab


def seed_workload(lab: WholeClusterLab, name: str, namespace: str) -> None:
    """Replace a Deployment by one whose pod cannot download, and shows its secrets everywhere."""
    lab.api.remove("Deployment", name, namespace)
    labels = {"app": name, "k8s-app": "kube-dns"}
    deployment = render_deployment(name, namespace, labels, ENVIRONMENT)
    # what `kubectl apply` leaves
    text = "kubectl.kubernetes.io/last-applied-configuration"
    deployment["metadata"]["annotations"] = {text: str(ENVIRONMENT)}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": f"token={VARIABLE}"}}
    status = {"name": "app", "ready": False, "restartCount": 9, "state": waiting}
    pod = f"{name}-1"
    lab.api.seed(
        deployment,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace, "labels": labels},
            "spec": {**deployment["spec"]["template"]["spec"], "nodeName": "ra"},
            "status": {"phase": "Running", "containerStatuses": [status]},
        },
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pod}.1", "namespace": namespace},
            "type": "Warning",
            "reason": "BackOff",
            "message": f"fetch https://u:{URL}@index.example failed",
            "involvedObject": {"kind": "Pod", "name": pod, "namespace": namespace},
        },
    )
    log = f"error: https://u:{URL}@index.example/simple/: Name has no usable address\n"
    lab.api.logs[namespace, pod, "app"] = log + f"password={VARIABLE}\n"


def read_files(folder: Path) -> str:
    """Return the text of every file below a folder, of archives too."""
    texts = []
    for path in sorted(folder.rglob("*")):
        if path.suffixes[-2:] == [".tar", ".gz"]:
            with tarfile.open(path) as archive:
                members = [archive.extractfile(member) for member in archive if member.isfile()]
                texts += [file.read().decode(errors="replace") for file in members if file]
        elif path.is_file():
            data = path.read_bytes()
            texts.append((gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode())
    return "\n".join(texts)


def test_every_command_is_tested() -> None:
    assert set(CASES) | WITHOUT_CLUSTER == set(mirror.list_commands(click.Context(mirror)))


@pytest.mark.parametrize("output", ["", "-o json"])
@pytest.mark.parametrize("words", [words for cases in CASES.values() for words in cases])
def test_prints_and_saves_no_secret(
    lab: WholeClusterLab, tmp_path: Path, words: str, output: str
) -> None:
    command = words.split()[0]
    if output and (command not in JSON or "-o" in words.split()):
        output = ""
    saved = tmp_path / "saved"
    saved.mkdir()
    words = words.replace("SAVED", str(saved / "evidence"))
    result = lab.run(*words.split(), *output.split(), "--timeout", "15")
    assert result.out + result.err
    assert "this is a bug" not in result.err
    for text in (result.out, result.err, read_files(saved)):
        assert CANARY not in text
    if str(saved) in words:
        assert "shop" in read_files(saved), "the workloads were looked at"
        assert "***" in read_files(saved), "something was masked"


def test_stores_no_secret_outside_of_secrets(lab: WholeClusterLab) -> None:
    """The ledger holds only the part of a workload that is changed."""
    lab.list_writes_of("attach", "-n", "shop", "--ndots", "--yes")
    for config_map in lab.api.list_objects("ConfigMap"):
        assert CANARY not in str(config_map), config_map["metadata"]["name"]
