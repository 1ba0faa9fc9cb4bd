"""Which images commands start, after an attacker has edited the mirror's namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.evidence.agent_image import record_agent_image
from deploy.fix_registry import build_engine
from tests.kubernetes_api import DirectCluster, Rule
from tests.unit.cli.memory_lab import apply_dns_fix
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster

GOOD, EVIL = "docker.io/library/m:1", "docker.io/library/evil:1"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    """A mirror that an administrator brought up; an editor of its namespace changed its image."""
    with run_whole_cluster(tmp_path, monkeypatch) as lab:
        lab.install()
        record_agent_image(lab.cluster, GOOD, [DIGEST], "pypi-mirror")
        editor = lab.api.add_user("editor", [Rule("*", "*", namespaces=("pypi-mirror",))])
        theirs = DirectCluster(lab.api, editor)
        stateful_set = theirs.get("StatefulSet", "pypi-mirror", "pypi-mirror")
        record = theirs.get("ConfigMap", "pypi-mirror-record", "pypi-mirror")
        assert stateful_set
        assert record
        for container in stateful_set["spec"]["template"]["spec"]["containers"]:
            container["image"] = EVIL
        document = json.loads(record["data"]["record.json"])
        record["data"]["record.json"] = json.dumps({**document, "image": EVIL})
        kinds = {"StatefulSet": stateful_set, "ConfigMap": record}
        for kind, obj in kinds.items():
            api_version = "apps/v1" if kind == "StatefulSet" else "v1"
            theirs.replace({"apiVersion": api_version, "kind": kind, **obj})
        yield lab


def list_started_images(lab: WholeClusterLab, start: int) -> dict[str, set[str]]:
    """Return kind → images of everything that commands created or applied since a request."""
    images: dict[str, set[str]] = {}
    for request in lab.api.requests[start:]:
        body: Any = request.body
        if not request.is_write or not isinstance(body, dict) or "spec" not in body:
            continue
        spec = body["spec"].get("template", {}).get("spec", body["spec"])
        for container in spec.get("containers", ()):
            images.setdefault(body["kind"], set()).add(container["image"])
    return images


@pytest.mark.parametrize(
    "words",
    [
        "fix host-sysctl --dry-run",
        "fix all --dry-run",
        "fix pod-sysctl --dry-run -o json",
        "fix",
        "status",
        "rollback --dry-run",
        "doctor --category hosts",
    ],
)
def test_looking_starts_nothing_privileged(lab: WholeClusterLab, words: str) -> None:
    start = len(lab.api.requests)
    lab.run(*words.split())
    assert list_started_images(lab, start).keys() <= {"Pod"}, "probe pods, which are restricted"
    assert lab.api.list_objects("DaemonSet") == []


def test_a_dry_run_shows_the_recorded_image(lab: WholeClusterLab) -> None:
    result = lab.run("fix", "host-sysctl", "--dry-run")
    words = " ".join(result.out.split())
    assert f"image {GOOD} ({DIGEST}), recorded by mirror up in pypi-mirror" in words
    assert "NOT observed, because no node agent runs and a dry run starts none" in words
    document = json.loads(lab.run("fix", "host-sysctl", "--dry-run", "-o", "json").out)
    assert document["agent"]["ids"] == [DIGEST]
    assert EVIL not in json.dumps(document)


@pytest.mark.parametrize(
    ("words", "image"),
    [
        ("fix host-sysctl --yes --timeout 3s", GOOD),
        ("fix host-sysctl --yes --timeout 3s --image other:2", "docker.io/library/other:2"),
    ],
)
def test_a_fix_starts_agents_and_probes_from_the_recorded_or_the_given_image(
    lab: WholeClusterLab, words: str, image: str
) -> None:
    """No kubelet runs the agents here, so the fix ends with that."""
    start = len(lab.api.requests)
    result = lab.run(*words.split())
    assert result.code != 0
    images = list_started_images(lab, start)
    assert images["DaemonSet"] == {image}
    assert set().union(*images.values()) == {image}


def test_the_reconciler_runs_from_the_recorded_image(lab: WholeClusterLab) -> None:
    apply_dns_fix(build_engine(lab.cluster))
    start = len(lab.api.requests)
    assert lab.run("fix", "--keep").code == 0
    assert list_started_images(lab, start) == {"Deployment": {GOOD}}


def test_without_a_record_an_image_is_asked_for(lab: WholeClusterLab) -> None:
    lab.cluster.patch(
        "Namespace",
        "kube-system",
        None,
        {"metadata": {"annotations": {"pypi-mirror/node-agent-image": None}}},
    )
    result = lab.run("fix", "host-sysctl", "--yes", "--timeout", "3s")
    assert result.code != 0
    assert "`mirror up` records one, or give --image REF" in result.out + result.err
    assert lab.api.list_objects("DaemonSet") == []
