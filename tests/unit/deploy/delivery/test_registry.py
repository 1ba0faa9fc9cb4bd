"""Push to a registry: which one, by which reference, and what stays in the engine."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.delivery import DeliveryOptions
from deploy.delivery.registry import DELIVERY, check_registry
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster

OPTIONS = DeliveryOptions(registry="registry.example:5000/team/")


def make_service(node_port: int = 32000) -> dict[str, Any]:
    port = {"port": 5000, "targetPort": "http", "nodePort": node_port}
    metadata = {"name": "registry", "namespace": "container-registry"}
    spec = {"type": "NodePort", "selector": {"app": "registry"}, "ports": [port]}
    return {"kind": "Service", "metadata": metadata, "spec": spec}


def make_pod(ready: str = "True") -> dict[str, Any]:
    metadata = {"name": "registry-1", "namespace": "container-registry"}
    return {
        "kind": "Pod",
        "metadata": metadata | {"labels": {"app": "registry"}},
        "spec": {"containers": [{"name": "r", "ports": [{"name": "http", "containerPort": 5001}]}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_returns_a_reference_with_tag_and_digest() -> None:
    engine = FakeImageEngine()
    delivered = DELIVERY.deliver(IMAGE, engine.as_client(), make_cluster(), OPTIONS, SILENT)
    digest = "sha256:" + "d" * 64
    assert delivered.reference == f"registry.example:5000/team/pypi-mirror:1-abc@{digest}"
    assert engine.pushed == ["registry.example:5000/team/pypi-mirror:1-abc"]
    assert engine.tags == [], "the tag for the push is removed"


def test_shows_why_a_push_failed() -> None:
    engine = FakeImageEngine(push_error="no basic auth credentials")
    with pytest.raises(DeliveryError, match="was not pushed") as error:
        DELIVERY.deliver(IMAGE, engine.as_client(), make_cluster(), OPTIONS, SILENT)
    assert error.value.why == "no basic auth credentials"
    assert "docker login registry.example:5000" in error.value.next_step
    assert engine.tags == []


@pytest.mark.parametrize(
    ("objects", "obstacle"),
    [
        ([], "the cluster has none at node port 32000"),
        ([make_service(31000)], "the cluster has none at node port 32000"),
        ([make_service()], "no pod that is Ready"),
        ([make_service(), make_pod("False")], "no pod that is Ready"),
        ([make_service(), make_pod()], "no permission to create pods/portforward"),
    ],
)
def test_says_why_it_cannot_use_the_registry_of_the_cluster(
    objects: list[Any], obstacle: str
) -> None:
    assert obstacle in (DELIVERY.find_obstacle(make_cluster(*objects), DeliveryOptions()) or "")


def test_finds_the_registry_of_the_cluster() -> None:
    cluster = make_cluster(make_service(), make_pod(), may_forward=True)
    assert DELIVERY.find_obstacle(cluster, DeliveryOptions()) is None


@pytest.mark.parametrize(
    "value", ["registry.example", "localhost:32000", "10.0.0.2:32000/a/b", "localhost"]
)
def test_accepts_a_registry(value: str) -> None:
    assert check_registry(value) == value


@pytest.mark.parametrize(
    "value",
    ["https://registry.example", "user:word@registry.example", "team", "team/x", "a.b/c:1", ""],
)
def test_rejects_what_is_not_a_registry(value: str) -> None:
    with pytest.raises(InputError, match="not a registry"):
        check_registry(value)
