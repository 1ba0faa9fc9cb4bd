"""Which images nodes have, by the names that kubelets report."""

from __future__ import annotations

import pytest

from deploy.cluster.node_images import (
    check_architecture,
    has_image,
    list_nodes_without_image,
    normalize_reference,
)
from mirror.core.errors import DeliveryError
from tests.unit.deploy.delivery.fakes import make_cluster, make_node

DIGEST = "sha256:" + "d" * 64


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("pypi-mirror:1", "docker.io/library/pypi-mirror:1"),
        ("pypi-mirror", "docker.io/library/pypi-mirror:latest"),
        ("team/mirror:1", "docker.io/team/mirror:1"),
        ("localhost:32000/mirror", "localhost:32000/mirror:latest"),
        ("registry.example/m:1", "registry.example/m:1"),
        (f"pypi-mirror@{DIGEST}", f"docker.io/library/pypi-mirror@{DIGEST}"),
    ],
)
def test_normalizes_references_like_nodes(short: str, full: str) -> None:
    assert normalize_reference(short) == full


def test_tells_whether_a_node_has_an_image() -> None:
    node = make_node("a", "docker.io/library/pypi-mirror:1", f"localhost:32000/m@{DIGEST}")
    assert has_image(node, "pypi-mirror:1") is True
    assert has_image(node, "pypi-mirror:2") is False
    assert has_image(node, f"localhost:32000/m:1@{DIGEST}") is True
    assert has_image(node, "localhost:32000/other:1") is None, "the node can pull it"
    full_node = make_node("b", *(f"image:{number}" for number in range(50)))
    assert has_image(full_node, "pypi-mirror:1") is None, "the node reports no more than 50"


def test_lists_nodes_that_lack_an_image() -> None:
    node_with_image = make_node("a", "docker.io/library/pypi-mirror:1")
    cluster = make_cluster(node_with_image, make_node("b"), make_node("c", "x:1"))
    assert list_nodes_without_image(cluster, "pypi-mirror:1") == ("b", "c")
    assert list_nodes_without_image(cluster, "registry.example/pypi-mirror:1") == ()


def test_requires_the_architecture_of_every_node() -> None:
    check_architecture("amd64", [make_node("a"), make_node("b")])
    with pytest.raises(DeliveryError, match="built for amd64") as error:
        check_architecture("amd64", [make_node("a"), make_node("b", architecture="arm64")])
    assert error.value.why == "b is arm64"
    assert "DOCKER_HOST" in error.value.next_step
