"""`kind load`, by a stand-in on the PATH."""

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


def of_kind(name: str, in_cluster: str = "dev", *images: str) -> dict[str, Any]:
    return make_node(name, *images) | {"spec": {"providerID": f"kind://docker/{in_cluster}/{name}"}}


def test_it_is_found_by_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = make_cluster(of_kind("dev-control-plane"), of_kind("dev-worker"))
    assert "no program `kind`" in str(DELIVERY.find_obstacle(there, DeliveryOptions()))
    install_program(tmp_path, monkeypatch, "kind")
    assert choose_method(there, DeliveryOptions()).name == "kind"


def test_other_nodes_are_not_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "kind")
    for nodes in (
        [make_node("a")],
        [of_kind("x"), make_node("a")],
        [of_kind("x"), of_kind("y", "other")],
    ):
        assert (
            DELIVERY.find_obstacle(make_cluster(*nodes), DeliveryOptions())
            == "its nodes are not kind's"
        )


def test_the_archive_goes_into_the_right_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_program(tmp_path, monkeypatch, "kind")
    there = make_cluster(
        of_kind("a"), of_kind("has", "dev", f"docker.io/library/{IMAGE.reference}")
    )
    done = DELIVERY.deliver(IMAGE, FakeImageEngine().engine(), there, DeliveryOptions(), SILENT)
    assert done.nodes == ("a",)
    words, _ = read_invocation(tmp_path, "kind")
    assert words[:2] == ["load", "image-archive"]
    assert words[2].endswith(".tar")
    assert words[3:] == ["--name", "dev"]


def test_a_failure_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "kind", exit_code=1, output="no nodes found")
    with pytest.raises(DeliveryError, match="for cluster dev") as failed:
        DELIVERY.deliver(
            IMAGE, FakeImageEngine().engine(), make_cluster(of_kind("a")), DeliveryOptions(), SILENT
        )
    assert "no nodes found" in failed.value.why
