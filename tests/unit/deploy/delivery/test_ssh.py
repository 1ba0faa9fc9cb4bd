"""Which commands reach and import on a node; tests/local/test_ssh.py uses a real ssh."""

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

SAVE = (
    "import sys,pathlib;pathlib.Path(sys.argv[1]).write_text("
    "' '.join(sys.argv[2:])+'|'+sys.stdin.read())"
)


def make_labelled_node(name: str, version: str = "v1.34.0", **labels: str) -> dict[str, Any]:
    node = make_node(name)
    node["metadata"]["labels"] = {key.replace("_", "/"): value for key, value in labels.items()}
    node["status"]["nodeInfo"]["kubeletVersion"] = version
    return node


def test_an_option_makes_it_usable() -> None:
    assert choose_method(make_cluster(), DeliveryOptions(ssh="ssh {address}")).name == "ssh"
    assert DELIVERY.find_obstacle(make_cluster(), DeliveryOptions()) == "no --ssh was given"


def test_chooses_the_import_command_by_the_node() -> None:
    k3s_node = make_labelled_node("a", version="v1.34.0+k3s1")
    microk8s_node = make_labelled_node("a", **{"microk8s.io_cluster": "true"})
    assert get_import_command(make_labelled_node("a"))[:3] == ("ctr", "-n", "k8s.io")
    assert get_import_command(k3s_node)[:2] == ("k3s", "ctr")
    assert get_import_command(microk8s_node)[:2] == ("microk8s", "ctr")


def test_pipes_the_tar_to_every_ready_node(tmp_path: Path) -> None:
    options = DeliveryOptions(ssh=f'{sys.executable} -c "{SAVE}" {tmp_path}/{{node}}')
    cluster = make_cluster(
        make_labelled_node("a"),
        make_labelled_node("b", version="v1.34.0+k3s1"),
        make_node("c", ready=False),
    )
    delivered = DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
    assert delivered.nodes == ("a", "b")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a": "sudo -n ctr -n k8s.io images import -|the image",
        "b": "sudo -n k3s ctr images import -|the image",
    }


def test_names_the_node_that_failed() -> None:
    options = DeliveryOptions(
        ssh=f"{sys.executable} -c \"import sys;sys.exit('no route')\" {{node}}"
    )
    cluster = make_cluster(make_node("a"))
    with pytest.raises(DeliveryError, match="not imported on a; 0 of 1") as error:
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
    assert "no route" in error.value.why


@pytest.mark.parametrize("template", ["ssh 'open", "ssh gateway"])
def test_rejects_an_unusable_template(template: str) -> None:
    cluster = make_cluster(make_node("a"), make_node("b"))
    options = DeliveryOptions(ssh=template)
    with pytest.raises(InputError, match="not a usable --ssh"):
        DELIVERY.deliver(IMAGE, FakeImageEngine().as_client(), cluster, options, SILENT)
