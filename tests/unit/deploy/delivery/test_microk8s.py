"""`microk8s images import`, by a stand-in on the PATH."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from deploy.delivery import DeliveryOptions, choose_method, microk8s
from deploy.delivery.microk8s import DELIVERY
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fake_programs import install_program, read_invocation
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node

HAS = f"docker.io/library/{IMAGE.reference}"


def here(*images: str) -> dict[str, Any]:
    made = make_node(socket.gethostname(), *images)
    made["metadata"]["labels"] = {"microk8s.io/cluster": "true"}
    return made


def test_it_is_found_on_a_node_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_program(tmp_path, monkeypatch, "microk8s")
    assert choose_method(make_cluster(here(), make_node("b")), DeliveryOptions()).name == "microk8s"


def test_where_it_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no program `microk8s`" in str(
        DELIVERY.find_obstacle(make_cluster(here()), DeliveryOptions())
    )
    install_program(tmp_path, monkeypatch, "microk8s")
    assert "is no node of that cluster" in str(
        DELIVERY.find_obstacle(make_cluster(make_node("b")), DeliveryOptions())
    )
    bare = make_node(socket.gethostname())
    assert "is no node" in str(DELIVERY.find_obstacle(make_cluster(bare), DeliveryOptions())), (
        "not MicroK8s"
    )
    assert "not yours" in str(DELIVERY.find_obstacle(make_cluster(refuses=True), DeliveryOptions()))


def test_the_tar_is_on_its_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "microk8s")
    nodes = [here(), make_node("b")]
    engine = FakeImageEngine()
    monkeypatch.setattr(microk8s, "_TELL_SECONDS", 5.0)
    save = engine.save

    def saved(reference: str, out: Any) -> int:
        for one in nodes:  # as if the import had been done by the time somebody looks
            one["status"]["images"] = [{"names": [HAS]}]
        return save(reference, out)

    monkeypatch.setattr(engine, "save", saved)
    done = DELIVERY.deliver(IMAGE, engine.engine(), make_cluster(*nodes), DeliveryOptions(), SILENT)
    assert done.reference == HAS
    assert done.nodes == (socket.gethostname(), "b")
    assert read_invocation(tmp_path, "microk8s") == (["images", "import"], b"the image")
    again = DELIVERY.deliver(
        IMAGE, engine.engine(), make_cluster(*nodes), DeliveryOptions(), SILENT
    )
    assert (again.nodes, engine.saved) == ((), 1)


def test_a_node_that_did_not_get_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is 0 where the agent of another node did not answer."""
    install_program(tmp_path, monkeypatch, "microk8s", output="cannot reach b")
    monkeypatch.setattr(microk8s, "_TELL_SECONDS", 0.1)
    there = make_cluster(here(HAS), make_node("b"))
    with pytest.raises(DeliveryError, match="not imported on b") as failed:
        DELIVERY.deliver(IMAGE, FakeImageEngine().engine(), there, DeliveryOptions(), SILENT)
    assert "cannot reach b" in failed.value.why


def test_a_refusal_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(
        tmp_path, monkeypatch, "microk8s", exit_code=1, output="Insufficient permissions"
    )
    with pytest.raises(DeliveryError) as failed:
        DELIVERY.deliver(
            IMAGE, FakeImageEngine().engine(), make_cluster(here()), DeliveryOptions(), SILENT
        )
    assert "Insufficient permissions" in failed.value.why
    assert "group microk8s" in failed.value.next_step
