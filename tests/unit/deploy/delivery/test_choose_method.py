"""Which way is taken, what is said when there is none, and what nodes are known to have."""

from __future__ import annotations

import pytest

from deploy.delivery import (
    DeliveryOptions,
    check_architecture,
    choose_method,
    has_image,
    list_nodes_without_image,
    load_methods,
    normalize_reference,
)
from mirror.core.errors import DeliveryError, InputError
from tests.unit.deploy.delivery.fakes import make_cluster, make_node

DIGEST = "sha256:" + "d" * 64


def test_every_way_is_found_and_complete() -> None:
    names = [way.name for way in load_methods()]
    assert {"nodes", "registry"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(way.requirement and way.order for way in load_methods())


def test_none_is_usable_and_each_is_named_with_its_reason() -> None:
    with pytest.raises(DeliveryError, match="no way to bring the image") as none:
        choose_method(make_cluster(), DeliveryOptions())
    for way in load_methods():
        assert f"{way.name}: " in none.value.why
        assert way.requirement in none.value.why
    assert "--image" in none.value.next_step


def test_a_refusal_of_the_api_is_a_reason() -> None:
    with pytest.raises(DeliveryError) as none:
        choose_method(make_cluster(refuses=True), DeliveryOptions())
    assert "not yours" in none.value.why


def test_an_option_makes_a_way_usable() -> None:
    assert (
        choose_method(make_cluster(), DeliveryOptions(import_command="ssh {node}")).name == "nodes"
    )
    assert (
        choose_method(make_cluster(), DeliveryOptions(registry="registry.example")).name
        == "registry"
    )


def test_the_named_way_is_taken_or_nothing() -> None:
    both = DeliveryOptions(import_command="ssh {node}", registry="registry.example")
    assert choose_method(make_cluster(), both).name == "nodes"
    named = DeliveryOptions(
        method="registry", import_command="ssh {node}", registry="registry.example"
    )
    assert choose_method(make_cluster(), named).name == "registry"
    with pytest.raises(DeliveryError) as unusable:
        choose_method(
            make_cluster(), DeliveryOptions(method="registry", import_command="ssh {node}")
        )
    assert "nodes:" not in unusable.value.why


def test_a_way_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="'pigeon'") as unknown:
        choose_method(make_cluster(), DeliveryOptions(method="pigeon"))
    assert "registry" in unknown.value.why


def test_the_architecture_has_to_fit_each_node() -> None:
    check_architecture("amd64", [make_node("a"), make_node("b")])
    with pytest.raises(DeliveryError, match="for amd64") as wrong:
        check_architecture("amd64", [make_node("a"), make_node("b", architecture="arm64")])
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
    assert normalize_reference(short) == full


def test_what_a_node_has() -> None:
    here = make_node("a", "docker.io/library/pypi-mirror:1", f"localhost:32000/m@{DIGEST}")
    assert has_image(here, "pypi-mirror:1") is True
    assert has_image(here, "pypi-mirror:2") is False
    assert has_image(here, f"localhost:32000/m:1@{DIGEST}") is True
    assert has_image(here, "localhost:32000/other:1") is None, "it can be pulled"
    many = make_node("b", *(f"image:{number}" for number in range(50)))
    assert has_image(many, "pypi-mirror:1") is None, "it reports no more than 50"


def test_nodes_that_miss_an_image() -> None:
    there = make_cluster(
        make_node("a", "docker.io/library/pypi-mirror:1"), make_node("b"), make_node("c", "x:1")
    )
    assert list_nodes_without_image(there, "pypi-mirror:1") == ("b", "c")
    assert list_nodes_without_image(there, "registry.example/pypi-mirror:1") == ()
