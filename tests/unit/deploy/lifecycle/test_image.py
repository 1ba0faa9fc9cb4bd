"""The image that `mirror up` uses: a given one that nodes have, or none at all."""

from __future__ import annotations

import pytest

from deploy.delivery import DeliveryOptions
from deploy.lifecycle.image import EnsuredImage, ImageRequest, ensure_image, predict_reference
from images.engine import EngineClient
from mirror.core.errors import DeliveryError, EngineError, UnfitError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import make_cluster, make_node

HERE = "docker.io/library/mirror:1"
CLUSTER = make_cluster(make_node("ra", HERE), make_node("babel", "other:1"))


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> EngineClient:
        raise EngineError("no Docker engine answers")

    monkeypatch.setattr(EngineClient, "connect", connect)


def ensure(request: ImageRequest, *, previous: str | None = None) -> EnsuredImage:
    nodes = CLUSTER.list("Node")
    return ensure_image(CLUSTER, request, nodes, SILENT, previous=previous, ca_pem=None)


def test_a_given_image_must_be_on_every_node() -> None:
    with pytest.raises(UnfitError, match="image mirror:1 is missing on babel") as error:
        ensure(ImageRequest(image="mirror:1"))
    assert "docs/delivery.md" in error.value.next_step


def test_a_node_can_pull_from_a_registry() -> None:
    image = ensure(ImageRequest(image="registry.example/mirror:1"))
    assert image == EnsuredImage(reference="registry.example/mirror:1", is_chosen=True)


def test_the_previous_image_must_be_on_every_node_too() -> None:
    with pytest.raises(UnfitError, match="is missing on babel"):
        ensure(ImageRequest(), previous="mirror:1")
    image = ensure(ImageRequest(), previous="registry.example/mirror:1")
    assert image == EnsuredImage(reference="registry.example/mirror:1", is_chosen=False)


@pytest.mark.parametrize(
    ("request_", "previous"),
    [
        (ImageRequest(), None),
        (ImageRequest(base="python:3.12"), "registry.example/mirror:1"),
        (ImageRequest(delivery=DeliveryOptions(method="kind")), "registry.example/mirror:1"),
    ],
    ids=["no previous one", "another base", "to be delivered"],
)
def test_without_an_engine_it_lists_the_methods(
    request_: ImageRequest, previous: str | None
) -> None:
    for call in (
        lambda: ensure(request_, previous=previous),
        lambda: predict_reference(CLUSTER, request_, previous, SILENT),
    ):
        with pytest.raises(DeliveryError, match="no Docker engine to build it with") as error:
            call()
        assert "no Docker engine answers" in error.value.why
        assert "\nmicrok8s: " in error.value.why


def test_a_plan_names_the_image_that_up_would_use() -> None:
    request = ImageRequest(image="team/mirror")
    assert predict_reference(CLUSTER, request, None, SILENT) == "docker.io/team/mirror:latest"
    assert predict_reference(CLUSTER, ImageRequest(), HERE, SILENT) == HERE
