"""Import on each node by --import-command, with a Python program instead of ssh."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.delivery import DeliveryOptions
from deploy.delivery.nodes import DELIVERY
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node

SAVE = "import sys,pathlib;pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
FAIL_ON_B = "import sys;sys.stdin.buffer.read();sys.exit('disk full' if sys.argv[1]=='b' else 0)"


def test_splits_the_template_before_it_fills_in_the_node() -> None:
    template = "ssh -o 'User Name' {address} sudo ctr '{node};rm' {other}"
    assert DELIVERY.build_command(template, make_node("a", address="10.0.0.9")) == (
        *("ssh", "-o", "User Name", "10.0.0.9", "sudo", "ctr", "a;rm", "{other}"),
    )


def test_takes_the_first_internal_address_of_a_dual_stack_node() -> None:
    node = make_node("a", address="10.0.0.9")
    node["status"]["addresses"].append({"type": "InternalIP", "address": "fd00::9"})
    assert DELIVERY.build_command("ssh {address}", node) == ("ssh", "10.0.0.9")


@pytest.mark.parametrize("template", ["", "ssh 'open"])
def test_rejects_a_template_that_is_not_a_command(template: str) -> None:
    with pytest.raises(InputError, match="--import-command"):
        DELIVERY.build_command(template, make_node("a"))


def test_pipes_the_tar_to_every_ready_node_without_the_image(tmp_path: Path) -> None:
    cluster = make_cluster(
        make_node("a"),
        make_node("b"),
        make_node("has", f"docker.io/library/{IMAGE.reference}"),
        make_node("gone", ready=False),
    )
    options = DeliveryOptions(import_command=f"{sys.executable} -c '{SAVE}' {tmp_path}/{{node}}")
    delivered = DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
    assert delivered.reference == "docker.io/library/pypi-mirror:1-abc"
    assert delivered.nodes == ("a", "b")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"the image",
        "b": b"the image",
    }


def test_saves_nothing_if_every_node_has_the_image() -> None:
    engine = FakeImageEngine()
    cluster = make_cluster(make_node("a", f"docker.io/library/{IMAGE.reference}"))
    delivered = DELIVERY.deliver(
        IMAGE, engine.as_client(), cluster, DeliveryOptions(import_command="x"), SILENT
    )
    assert (delivered.nodes, engine.saved) == ((), 0)


def test_fails_if_some_nodes_lack_the_image() -> None:
    options = DeliveryOptions(import_command=f'{sys.executable} -c "{FAIL_ON_B}" {{node}}')
    cluster = make_cluster(make_node("a"), make_node("b"), make_node("c"))
    with pytest.raises(DeliveryError, match="not imported on b; 2 of 3") as error:
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
    assert "disk full" in error.value.why


def test_rejects_one_command_for_several_nodes() -> None:
    options = DeliveryOptions(import_command="ctr images import -")
    cluster = make_cluster(make_node("a"), make_node("b"))
    with pytest.raises(InputError, match="--import-command") as error:
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
    assert "same for several nodes" in error.value.why
