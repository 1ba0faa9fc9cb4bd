"""`kind load`, by a stand-in on the PATH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.delivery import Options, choose
from deploy.delivery.kind import DELIVERY
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.programs import put, told
from tests.unit.deploy.delivery.stand_ins import IMAGE, StandInEngine, cluster, node


def of_kind(name: str, in_cluster: str = "dev", *images: str) -> dict[str, Any]:
    return node(name, *images) | {"spec": {"providerID": f"kind://docker/{in_cluster}/{name}"}}


def test_it_is_found_by_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = cluster(of_kind("dev-control-plane"), of_kind("dev-worker"))
    assert "no program `kind`" in str(DELIVERY.usable(there, Options()))
    put(tmp_path, monkeypatch, "kind")
    assert choose(there, Options()).name == "kind"


def test_other_nodes_are_not_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, monkeypatch, "kind")
    for nodes in ([node("a")], [of_kind("x"), node("a")], [of_kind("x"), of_kind("y", "other")]):
        assert DELIVERY.usable(cluster(*nodes), Options()) == "its nodes are not kind's"


def test_the_archive_goes_into_the_right_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, monkeypatch, "kind")
    there = cluster(of_kind("a"), of_kind("has", "dev", f"docker.io/library/{IMAGE.reference}"))
    done = DELIVERY.deliver(IMAGE, StandInEngine().engine(), there, Options(), SILENT)
    assert done.nodes == ("a",)
    words, _ = told(tmp_path, "kind")
    assert words[:2] == ["load", "image-archive"]
    assert words[2].endswith(".tar")
    assert words[3:] == ["--name", "dev"]


def test_a_failure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, monkeypatch, "kind", code=1, said="no nodes found")
    with pytest.raises(DeliveryError, match="for cluster dev") as failed:
        DELIVERY.deliver(IMAGE, StandInEngine().engine(), cluster(of_kind("a")), Options(), SILENT)
    assert "no nodes found" in failed.value.why
