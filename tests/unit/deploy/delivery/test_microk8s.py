"""`microk8s images import`, with a script instead of microk8s."""

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

REFERENCE = f"docker.io/library/{IMAGE.reference}"


def make_this_node(*images: str) -> dict[str, Any]:
    node = make_node(socket.gethostname(), *images)
    node["metadata"]["labels"] = {"microk8s.io/cluster": "true"}
    return node


def test_is_chosen_on_a_node_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_program(tmp_path, monkeypatch, "microk8s")
    cluster = make_cluster(make_this_node(), make_node("b"))
    assert choose_method(cluster, DeliveryOptions()).name == "microk8s"


def test_says_why_it_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_obstacle(*nodes: dict[str, Any], refuses: bool = False) -> str:
        cluster = make_cluster(*nodes, refuses=refuses)
        return str(DELIVERY.find_obstacle(cluster, DeliveryOptions()))

    assert "no program `microk8s`" in find_obstacle(make_this_node())
    install_program(tmp_path, monkeypatch, "microk8s")
    assert "is not a node of that cluster" in find_obstacle(make_node("b"))
    other_kubernetes = make_node(socket.gethostname())
    assert "is not a node of that cluster" in find_obstacle(other_kubernetes)
    assert 'cannot list resource "nodes"' in find_obstacle(refuses=True)


def test_pipes_the_tar_into_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_program(tmp_path, monkeypatch, "microk8s")
    nodes = [make_this_node(), make_node("b")]
    engine = FakeImageEngine()
    monkeypatch.setattr(microk8s, "_REPORT_SECONDS", 5.0)
    save = engine.save

    def save_and_report(reference: str, out: Any) -> int:
        for node in nodes:  # as if the import was done before the first check
            node["status"]["images"] = [{"names": [REFERENCE]}]
        cluster.memory.seed(*nodes)
        return save(reference, out)

    monkeypatch.setattr(engine, "save", save_and_report)
    cluster = make_cluster(*nodes)
    delivered = DELIVERY.deliver(IMAGE, engine.as_client(), cluster, DeliveryOptions(), SILENT)
    assert delivered.reference == REFERENCE
    assert set(delivered.nodes) == {socket.gethostname(), "b"}
    assert read_invocation(tmp_path, "microk8s") == (["images", "import"], b"the image")
    again = DELIVERY.deliver(IMAGE, engine.as_client(), cluster, DeliveryOptions(), SILENT)
    assert (again.nodes, engine.saved) == ((), 1)


def test_names_a_node_that_did_not_get_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """microk8s exits with 0 even if the agent of another node did not answer."""
    install_program(tmp_path, monkeypatch, "microk8s", output="cannot reach b")
    monkeypatch.setattr(microk8s, "_REPORT_SECONDS", 0.1)
    cluster = make_cluster(make_this_node(REFERENCE), make_node("b"))
    with pytest.raises(DeliveryError, match="not imported on b") as error:
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, DeliveryOptions(), SILENT)
    assert "cannot reach b" in error.value.why


def test_shows_why_the_import_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "Insufficient permissions"
    install_program(tmp_path, monkeypatch, "microk8s", exit_code=1, output=message)
    cluster = make_cluster(make_this_node())
    with pytest.raises(DeliveryError) as error:
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, DeliveryOptions(), SILENT)
    assert message in error.value.why
    assert "group microk8s" in error.value.next_step
