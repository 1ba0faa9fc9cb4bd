"""Which words reach a node and which import there; over a real ssh: tests/local/test_ssh.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.delivery import DeliveryOptions, choose_method
from deploy.delivery.ssh import DELIVERY, get_import_command
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import SILENT
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node

KEEP = (
    "import sys,pathlib;pathlib.Path(sys.argv[1]).write_text("
    "' '.join(sys.argv[2:])+'|'+sys.stdin.read())"
)


def labelled(name: str, version: str = "v1.34.0", **labels: str) -> dict[str, Any]:
    made = make_node(name)
    made["metadata"]["labels"] = {key.replace("_", "/"): value for key, value in labels.items()}
    made["status"]["nodeInfo"]["kubeletVersion"] = version
    return made


def test_an_option_makes_it_usable() -> None:
    assert choose_method(make_cluster(), DeliveryOptions(ssh="ssh {address}")).name == "ssh"
    assert DELIVERY.find_obstacle(make_cluster(), DeliveryOptions()) == "no --ssh was given"


def test_what_imports_follows_from_the_node() -> None:
    assert get_import_command(labelled("a"))[:3] == ("ctr", "-n", "k8s.io")
    assert get_import_command(labelled("a", version="v1.34.0+k3s1"))[:2] == ("k3s", "ctr")
    assert get_import_command(labelled("a", **{"microk8s.io_cluster": "true"}))[:2] == (
        "microk8s",
        "ctr",
    )


def test_each_node_gets_the_tar(tmp_path: Path) -> None:
    options = DeliveryOptions(ssh=f'{sys.executable} -c "{KEEP}" {tmp_path}/{{node}}')
    there = make_cluster(
        labelled("a"), labelled("b", version="v1.34.0+k3s1"), make_node("c", ready=False)
    )
    done = DELIVERY.deliver(IMAGE, FakeImageEngine().engine(), there, options, SILENT)
    assert done.nodes == ("a", "b")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a": "sudo -n ctr -n k8s.io images import -|the image",
        "b": "sudo -n k3s ctr images import -|the image",
    }


def test_what_fails_is_named() -> None:
    options = DeliveryOptions(
        ssh=f"{sys.executable} -c \"import sys;sys.exit('no route')\" {{node}}"
    )
    with pytest.raises(DeliveryError, match="not imported on a; 0 of 1") as failed:
        DELIVERY.deliver(
            IMAGE, FakeImageEngine().engine(), make_cluster(make_node("a")), options, SILENT
        )
    assert "no route" in failed.value.why


@pytest.mark.parametrize("template", ["ssh 'open", "ssh gateway"])
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(InputError, match="not a usable --ssh"):
        DELIVERY.deliver(
            IMAGE,
            FakeImageEngine().engine(),
            make_cluster(make_node("a"), make_node("b")),
            DeliveryOptions(ssh=template),
            SILENT,
        )
