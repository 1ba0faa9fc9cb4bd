"""Push to a registry: which, under which name, and what is left in the engine."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.delivery import DeliveryOptions
from deploy.delivery.registry import DELIVERY, check_registry
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster

GIVEN = DeliveryOptions(registry="registry.example:5000/team/")


def service(node_port: int = 32000) -> dict[str, Any]:
    port = {"port": 5000, "targetPort": "http", "nodePort": node_port}
    return {"spec": {"selector": {"app": "registry"}, "ports": [port]}}


def pod(ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": "registry-1"},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 5001}]}]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_a_given_registry_by_tag_and_digest() -> None:
    engine = FakeImageEngine()
    done = DELIVERY.deliver(IMAGE, engine.engine(), make_cluster(), GIVEN, SILENT)
    digest = "sha256:" + "d" * 64
    assert done.reference == f"registry.example:5000/team/pypi-mirror:1-abc@{digest}"
    assert engine.pushed == ["registry.example:5000/team/pypi-mirror:1-abc"]
    assert engine.names == [], "the name it was pushed under is taken away again"


def test_a_push_that_fails() -> None:
    engine = FakeImageEngine(push_error="no basic auth credentials")
    with pytest.raises(DeliveryError, match="was not pushed") as failed:
        DELIVERY.deliver(IMAGE, engine.engine(), make_cluster(), GIVEN, SILENT)
    assert failed.value.why == "no basic auth credentials"
    assert "docker login registry.example:5000" in failed.value.next_step
    assert engine.names == []


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({}, "the cluster has none at node port 32000"),
        ({"Service": [service(31000)]}, "the cluster has none at node port 32000"),
        ({"Service": [service()]}, "no pod that is Ready"),
        ({"Service": [service()], "Pod": [pod("False")]}, "no pod that is Ready"),
        ({"Service": [service()], "Pod": [pod()]}, "no right to create pods/portforward"),
        ({"Service": [service()], "Pod": [pod()], "allowed": []}, None),
    ],
)
def test_the_clusters_own(others: dict[str, Any], reason: str | None) -> None:
    told = DELIVERY.find_obstacle(make_cluster(**others), DeliveryOptions())
    assert (told is None) if reason is None else (told is not None and reason in told)


@pytest.mark.parametrize(
    "value", ["registry.example", "localhost:32000", "10.0.0.2:32000/a/b", "localhost"]
)
def test_registries(value: str) -> None:
    assert check_registry(value) == value


@pytest.mark.parametrize(
    "value",
    ["https://registry.example", "user:word@registry.example", "team", "team/x", "a.b/c:1", ""],
)
def test_what_is_no_registry(value: str) -> None:
    with pytest.raises(InputError, match="not a registry"):
        check_registry(value)
