"""What whole commands print: the keys that programs read, and the lines that people read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.lifecycle import up
from deploy.lifecycle.node_probe import NodeProbe
from tests.kubernetes_api.store import ObjectStore
from tests.unit.cli.running_mirror import prepare_store, run_mirror
from tests.unit.cli.whole_cluster import WholeClusterLab

IMAGE = "registry.example/m:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    return prepare_store(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> Iterator[WholeClusterLab]:
    probes = (NodeProbe(node="ra", ok=True, image_id="sha256:aa"),)
    monkeypatch.setattr(up, "probe_nodes", lambda *_, **__: probes)
    with run_mirror(store, tmp_path, monkeypatch) as lab:
        yield lab


REPAIR = "keeper not_seen outcomes proved_on restarted running states written"
KEYS = {
    "attach deployment/backend -n shop --yes": "notes patches written",
    "attach deployment/backend -n shop --dry-run": "notes patches targets workloads",
    "detach deployment/attached -n shop --yes": "notes patches written",
    "doctor": "context findings next passed_over results taken",
    "down": "purged removed withdrawn",
    "fix dns --dry-run": "agent away failures fixes idle restarts running targets unseen",
    "list": "cached private",
    "rollback --yes": REPAIR,
    "status": "command context endpoint figures fixes hit_rate holder image keeper namespace node "
    "published state trouble url version volume",
    "uninstall --yes": "detached other_mirrors removed rolled_back unchecked unproven withdrawn",
    "verify": "files flaws seconds size sound unknown",
}


@pytest.mark.parametrize("words", KEYS)
def test_programs_find_their_keys(lab: WholeClusterLab, words: str) -> None:
    """A later version may have more of them."""
    result = lab.run(*words.split(), "-o", "json")
    assert result.code == 0, result.err
    assert set(KEYS[words].split()) <= set(json.loads(result.out))


def test_up_says_what_runs_and_what_is_next(lab: WholeClusterLab) -> None:
    result = lab.run("up", "--image", IMAGE)
    assert result.code == 0, result.out + result.err
    lines = [line.split() for line in result.out.splitlines() if line]
    assert lines == [
        ["mirror", "in", "memory,", "namespace", "pypi-mirror:", "running"],
        ["index", "http://10.152.183.50:3141/workloads/stable/+simple/"],
        ["node", "ra"],
        ["image", IMAGE],
        ["proved", "on", "ra"],
        [
            *["next:", "mirror", "env", "--publish", "NAMESPACE"],
            *["gives", "it", "to", "the", "pods", "of", "a", "namespace"],
        ],
    ]


def test_up_gives_programs_the_same(lab: WholeClusterLab) -> None:
    result = lab.run("up", "--image", IMAGE, "-o", "json")
    assert result.code == 0, result.out + result.err
    document = json.loads(result.out)
    assert document["url"] == "http://10.152.183.50:3141/workloads/stable/+simple/"
    assert (document["image"], document["node"]) == (IMAGE, "ra")
    assert "fixes" not in document


def keep_with_argo(deployment: Any) -> None:
    deployment["metadata"].setdefault("annotations", {})["argocd.argoproj.io/tracking-id"] = "x"


def test_attach_shows_what_a_tool_would_revert(lab: WholeClusterLab) -> None:
    lab.api.edit("Deployment", "backend", "shop", keep_with_argo)
    words = ("attach", "deployment/backend", "-n", "shop")
    before = lab.api.dump()
    shown = lab.run(*words, "--dry-run")
    assert "not written, because a tool would put its own version back: " in shown.out
    assert "Argo CD keeps it" in shown.out and "name: pypi-mirror-env" in shown.out
    document = json.loads(lab.run(*words, "--yes", "-o", "json").out)
    assert document["written"] == []
    (patch,) = document["patches"]
    assert patch["patch"]["metadata"]["name"] == "backend"
    assert lab.api.dump() == before
    forced = json.loads(lab.run(*words, "--yes", "--force", "-o", "json").out)
    assert forced["written"] == ["Deployment shop/backend"]


def test_follows_no_run_that_was_never_started(lab: WholeClusterLab) -> None:
    result = lab.run("warm", "--follow")
    assert result.code == 3
    assert "there is no warm run" in result.err
    assert result.get_line("next") == "mirror warm uv.lock"


@pytest.mark.parametrize("option", ["--save", "--bundle", "--from"])
def test_watching_writes_no_file(lab: WholeClusterLab, option: str) -> None:
    Path("evidence").write_text("{}")
    result = lab.run("doctor", "--watch", option, "evidence")
    assert result.code == 2
    assert f"{option} cannot be used with --watch" in result.err
    assert result.get_line("next") == f"mirror doctor {option} FILE"


@pytest.mark.parametrize("option", ["--save", "--bundle"])
def test_a_file_that_cannot_be_written_is_an_error(lab: WholeClusterLab, option: str) -> None:
    result = lab.run("doctor", option, "missing/evidence.tar.gz")
    assert result.code == 2
    assert "cannot write missing/evidence.tar.gz" in result.err
    assert result.get_line("why") == "there is no folder missing"
