"""Import on each node, by programs of the test instead of ssh."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.delivery import DeliveryOptions
from deploy.delivery.nodes import DELIVERY, build_command
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node

KEEP = "import sys,pathlib;pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
FAIL_ON_B = "import sys;sys.stdin.buffer.read();sys.exit('disk full' if sys.argv[1]=='b' else 0)"


def test_the_template_is_split_and_then_filled() -> None:
    template = "ssh -o 'User Name' {address} sudo ctr '{node};rm' {other}"
    assert build_command(template, make_node("a", address="10.0.0.9")) == (
        *("ssh", "-o", "User Name", "10.0.0.9", "sudo", "ctr", "a;rm", "{other}"),
    )


@pytest.mark.parametrize("template", ["", "ssh 'open"])
def test_what_is_no_command(template: str) -> None:
    with pytest.raises(InputError, match="--import-command"):
        build_command(template, make_node("a"))


def test_each_node_gets_the_tar(tmp_path: Path) -> None:
    engine = FakeImageEngine()
    there = make_cluster(
        make_node("a"), make_node("b"), make_node("has", f"docker.io/library/{IMAGE.reference}"),
        make_node("gone", ready=False),
    )  # fmt: skip
    options = DeliveryOptions(import_command=f"{sys.executable} -c '{KEEP}' {tmp_path}/{{node}}")
    done = DELIVERY.deliver(IMAGE, engine.engine(), there, options, SILENT)
    assert done.reference == "docker.io/library/pypi-mirror:1-abc"
    assert done.nodes == ("a", "b")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"the image",
        "b": b"the image",
    }


def test_where_all_have_it_nothing_is_saved() -> None:
    engine = FakeImageEngine()
    there = make_cluster(make_node("has", f"docker.io/library/{IMAGE.reference}"))
    done = DELIVERY.deliver(
        IMAGE, engine.engine(), there, DeliveryOptions(import_command="x"), SILENT
    )
    assert (done.nodes, engine.saved) == ((), 0)


def test_some_nodes_are_not_enough() -> None:
    options = DeliveryOptions(import_command=f'{sys.executable} -c "{FAIL_ON_B}" {{node}}')
    there = make_cluster(make_node("a"), make_node("b"), make_node("c"))
    with pytest.raises(DeliveryError, match="not imported on b; 2 of 3") as failed:
        DELIVERY.deliver(IMAGE, FakeImageEngine().engine(), there, options, SILENT)
    assert "disk full" in failed.value.why


def test_one_command_for_all_nodes_is_a_mistake() -> None:
    options = DeliveryOptions(import_command="ctr images import -")
    with pytest.raises(InputError, match="--import-command") as same:
        DELIVERY.deliver(
            IMAGE,
            FakeImageEngine().engine(),
            make_cluster(make_node("a"), make_node("b")),
            options,
            SILENT,
        )
    assert "same for several nodes" in same.value.why
