"""Which way is taken, what is said when there is none, and what nodes are known to have."""

from __future__ import annotations

import pytest

from deploy.delivery import (
    Options,
    check_architecture,
    choose,
    full_reference,
    node_has,
    nodes_missing,
    ways,
)
from mirror.core.errors import DeliveryError, InputError
from tests.unit.deploy.delivery.stand_ins import cluster, node

DIGEST = "sha256:" + "d" * 64


def test_every_way_is_found_and_complete() -> None:
    names = [way.name for way in ways()]
    assert {"nodes", "registry"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(way.how and way.order for way in ways())


def test_none_is_usable_and_each_is_named_with_its_reason() -> None:
    with pytest.raises(DeliveryError, match="no way to bring the image") as none:
        choose(cluster(), Options())
    for way in ways():
        assert f"{way.name}: " in none.value.why
        assert way.how in none.value.why
    assert "--image" in none.value.next_step


def test_a_refusal_of_the_api_is_a_reason() -> None:
    with pytest.raises(DeliveryError) as none:
        choose(cluster(refuses=True), Options())
    assert "not yours" in none.value.why


def test_an_option_makes_a_way_usable() -> None:
    assert choose(cluster(), Options(import_command="ssh {node}")).name == "nodes"
    assert choose(cluster(), Options(registry="registry.example")).name == "registry"


def test_the_named_way_is_taken_or_nothing() -> None:
    both = Options(import_command="ssh {node}", registry="registry.example")
    assert choose(cluster(), both).name == "nodes"
    named = Options(way="registry", import_command="ssh {node}", registry="registry.example")
    assert choose(cluster(), named).name == "registry"
    with pytest.raises(DeliveryError) as unusable:
        choose(cluster(), Options(way="registry", import_command="ssh {node}"))
    assert "nodes:" not in unusable.value.why


def test_a_way_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="'pigeon'") as unknown:
        choose(cluster(), Options(way="pigeon"))
    assert "registry" in unknown.value.why


def test_the_architecture_has_to_fit_each_node() -> None:
    check_architecture("amd64", [node("a"), node("b")])
    with pytest.raises(DeliveryError, match="for amd64") as wrong:
        check_architecture("amd64", [node("a"), node("b", architecture="arm64")])
    assert wrong.value.why == "b is arm64"
    assert "DOCKER_HOST" in wrong.value.next_step


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
def test_names_as_nodes_write_them(short: str, full: str) -> None:
    assert full_reference(short) == full


def test_what_a_node_has() -> None:
    here = node("a", "docker.io/library/pypi-mirror:1", f"localhost:32000/m@{DIGEST}")
    assert node_has(here, "pypi-mirror:1") is True
    assert node_has(here, "pypi-mirror:2") is False
    assert node_has(here, f"localhost:32000/m:1@{DIGEST}") is True
    assert node_has(here, "localhost:32000/other:1") is None, "it can be pulled"
    many = node("b", *(f"image:{number}" for number in range(50)))
    assert node_has(many, "pypi-mirror:1") is None, "it reports no more than 50"


def test_nodes_that_miss_an_image() -> None:
    there = cluster(node("a", "docker.io/library/pypi-mirror:1"), node("b"), node("c", "x:1"))
    assert nodes_missing(there, "pypi-mirror:1") == ("b", "c")
    assert nodes_missing(there, "registry.example/pypi-mirror:1") == ()
