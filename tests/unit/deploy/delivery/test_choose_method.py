"""Which delivery method is chosen, and what the error says if none can be used."""

from __future__ import annotations

import pytest

from deploy.delivery import DeliveryOptions, choose_method, load_methods
from mirror.core.errors import DeliveryError, InputError
from tests.unit.deploy.delivery.fakes import make_cluster


def test_finds_every_method_complete() -> None:
    names = [method.name for method in load_methods()]
    assert {"nodes", "registry"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(method.requirement and method.order for method in load_methods())


def test_names_every_method_and_its_obstacle_if_none_is_usable() -> None:
    with pytest.raises(DeliveryError, match="no way to bring the image") as error:
        choose_method(make_cluster(), DeliveryOptions())
    for method in load_methods():
        assert f"{method.name}: " in error.value.why
        assert method.requirement in error.value.why
    assert "--image" in error.value.next_step


def test_reports_a_refusal_of_the_api_as_obstacle() -> None:
    with pytest.raises(DeliveryError) as error:
        choose_method(make_cluster(refuses=True), DeliveryOptions())
    assert 'cannot list resource "nodes"' in error.value.why


def test_an_option_makes_its_method_usable() -> None:
    by_command = DeliveryOptions(import_command="ssh {node}")
    assert choose_method(make_cluster(), by_command).name == "nodes"
    by_registry = DeliveryOptions(registry="registry.example")
    assert choose_method(make_cluster(), by_registry).name == "registry"


def test_takes_the_named_method_or_none() -> None:
    both = DeliveryOptions(import_command="ssh {node}", registry="registry.example")
    assert choose_method(make_cluster(), both).name == "nodes"
    named = DeliveryOptions(
        method="registry", import_command="ssh {node}", registry="registry.example"
    )
    assert choose_method(make_cluster(), named).name == "registry"
    with pytest.raises(DeliveryError) as error:
        choose_method(
            make_cluster(), DeliveryOptions(method="registry", import_command="ssh {node}")
        )
    assert "nodes:" not in error.value.why


def test_rejects_an_unknown_method() -> None:
    with pytest.raises(InputError, match="'pigeon'") as error:
        choose_method(make_cluster(), DeliveryOptions(method="pigeon"))
    assert "registry" in error.value.why
