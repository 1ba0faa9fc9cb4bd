"""`kind load`, with a script instead of kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.delivery import DeliveryOptions, choose_method
from deploy.delivery.kind import DELIVERY
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fake_programs import install_program, read_invocation
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node


def make_kind_node(name: str, kind_cluster: str = "dev", *images: str) -> dict[str, Any]:
    provider_id = f"kind://docker/{kind_cluster}/{name}"
    return make_node(name, *images) | {"spec": {"providerID": provider_id}}


def test_detects_kind_by_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make_cluster(make_kind_node("dev-control-plane"), make_kind_node("dev-worker"))
    assert "no program `kind`" in str(DELIVERY.find_obstacle(cluster, DeliveryOptions()))
    install_program(tmp_path, monkeypatch, "kind")
    assert choose_method(cluster, DeliveryOptions()).name == "kind"


def test_rejects_nodes_that_are_not_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "kind")
    for nodes in (
        [make_node("a")],
        [make_kind_node("x"), make_node("a")],
        [make_kind_node("x"), make_kind_node("y", "other")],
    ):
        obstacle = DELIVERY.find_obstacle(make_cluster(*nodes), DeliveryOptions())
        assert obstacle == "its nodes are not kind's"


def test_loads_the_archive_into_the_right_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_program(tmp_path, monkeypatch, "kind")
    cluster = make_cluster(
        make_kind_node("a"),
        make_kind_node("has", "dev", f"docker.io/library/{IMAGE.reference}"),
    )
    delivered = DELIVERY.deliver(
        IMAGE, FakeImageEngine().as_client(), cluster, DeliveryOptions(), SILENT
    )
    assert delivered.nodes == ("a",)
    arguments, _ = read_invocation(tmp_path, "kind")
    assert arguments[:2] == ["load", "image-archive"]
    assert arguments[2].endswith(".tar")
    assert arguments[3:] == ["--name", "dev"]


def test_shows_why_kind_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "kind", exit_code=1, output="no nodes found")
    with pytest.raises(DeliveryError, match="for cluster dev") as error:
        DELIVERY.deliver(
            IMAGE,
            FakeImageEngine().as_client(),
            make_cluster(make_kind_node("a")),
            DeliveryOptions(),
            SILENT,
        )
    assert "no nodes found" in error.value.why
