"""Bundles of saved evidence, and of a cluster that refuses some requests."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from cli.commands.doctor import doctor
from deploy.cluster.client import ApiError, Cluster
from deploy.doctor import bundle
from deploy.doctor.run import judge, load_categories
from deploy.evidence.model import Evidence
from mirror.core.codec import load
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

CASES = Path(__file__).parents[2] / "cases" / "checks"
CANARY = "hunter2canary"


class FakeBundleCluster:
    """A cluster whose objects, logs and events contain a secret; ``refused`` kinds answer 403."""

    context = "fake"

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.deadline = Deadline.after(20)
        self.requested_kinds: set[str] = set()

    def list(self, kind: str, namespace: str | None = None, **_: str) -> list[Any]:
        self.requested_kinds.add(kind)
        if kind in self.refused:
            raise ApiError(403, "Forbidden", f"no right: {kind} token={CANARY}", "refused", "")
        meta = {"name": f"{kind.lower()}-1", "namespace": namespace or "n"}
        secret = [{"name": "ANY", "value": CANARY}]
        spec = {"containers": [{"name": "c", "env": secret}]}
        event = {"type": "Warning", "message": f"https://u:{CANARY}@index.example failed"}
        return [{"metadata": meta, "spec": spec, **event}]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
        self.requested_kinds.add(kind)
        data = {"Corefile": ".:53 {}", "password": CANARY}
        return {"metadata": {"name": name, "namespace": namespace}, "data": data}

    def tail_log(self, *words: str, **_: int) -> str:
        return f"started\nusing token={CANARY}\n"


def read_archive(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {
            member.name.partition("/")[2]: cast("Any", archive.extractfile(member)).read().decode()
            for member in members
        }


def write_and_read(target: Path, *refused: str) -> tuple[dict[str, str], FakeBundleCluster]:
    evidence = load(Evidence, json.loads((CASES / "field" / "evidence.json").read_text()))
    fake = FakeBundleCluster(*refused)
    report = judge(evidence, load_categories())
    bundle.write_bundle(target, evidence, report, cast("Cluster", fake), "pypi-mirror")
    return read_archive(target), fake


def test_contains_no_secrets_and_requests_none(tmp_path: Path) -> None:
    files, fake = write_and_read(tmp_path / "b.tar.gz")
    assert not [name for name, text in files.items() if CANARY in text]
    assert "Secret" not in fake.requested_kinds
    assert ".:53 {}" in files["objects/ConfigMap/kube-system/coredns.json"]
    assert files["logs/pypi-mirror/pod-1/c.log"] == "started\nusing token=***\n"
    assert json.loads(files["findings.json"])["findings"][0]["check"] == "dns.search-domains"


def test_lists_what_may_not_be_read(tmp_path: Path) -> None:
    files, _ = write_and_read(tmp_path / "b.tar.gz", "Pod", "Event")
    assert "Event in the cluster: no right: Event token=***" in files["missing.txt"]
    assert files["events.json"] == "[]\n"


def test_doctor_judges_the_evidence_of_a_bundle(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.gz"
    argv = ["--from", str(CASES / "field" / "evidence.json"), "--bundle", str(target)]
    done = CliRunner().invoke(doctor, argv)
    assert done.exit_code == 1
    assert "check it before you share it" in done.stdout
    assert target.stat().st_mode & 0o777 == 0o600
    again = tmp_path / "evidence.json"
    again.write_text(read_archive(target)["evidence.json"])
    assert "communityfibre.co.uk" in CliRunner().invoke(doctor, ["--from", str(again)]).stdout


def test_rejects_an_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_and_read(tmp_path / "none" / "b.tar.gz")
