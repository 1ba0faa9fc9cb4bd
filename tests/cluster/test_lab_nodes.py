"""A second lab beside the session's: what can be done to its nodes and its control plane."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.cluster import versions
from tests.cluster.images import ensure_base_image
from tests.cluster.lab import Lab, LabError, running_lab
from tests.cluster.options import LabOptions
from tests.cluster.process import CommandError
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def second(faulty_lab: Lab) -> Iterator[Lab]:
    """An ordinary cluster of two nodes, which stands beside the lab of the field."""
    options = LabOptions(name=f"second-{os.getpid()}", nodes=("anubis", "babel"))
    with running_lab(options) as up:
        yield up


def read_node_readiness(lab: Lab) -> dict[str, str]:
    """Node → status of its condition Ready."""
    items = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: condition["status"]
        for item in items
        for condition in item["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def test_two_labs_stand_side_by_side(faulty_lab: Lab, second: Lab) -> None:
    assert faulty_lab.site.index != second.site.index
    assert set(read_node_readiness(faulty_lab)) == {"anubis", "babel", "ra"}
    assert set(read_node_readiness(second)) == {"anubis", "babel"}
    path = "jsonpath={.spec.clusterIP}"
    for each in (faulty_lab, second):
        get = ("get", "service", "-n", "kube-system", "kube-dns", "-o", path)
        assert each.kubectl(*get) == "10.152.183.10"


def test_a_lab_without_options_is_an_ordinary_cluster(second: Lab) -> None:
    assert second.exec("babel", "cat", "/etc/resolv.conf").stdout == (
        f"nameserver {second.site.router}\n"
    )
    assert second.exec("babel", "ip", "-6", "route", "show", "default").stdout == ""
    assert "fd70" not in second.exec("babel", "ip", "-6", "address", "show", "eth0").stdout


def test_a_command_runs_inside_a_node(second: Lab) -> None:
    assert second.exec("babel", "hostname").stdout == "babel\n"
    assert second.exec("babel", "cat", stdin="given").stdout == "given"
    assert second.address("babel") == second.site.node_address(3)
    with pytest.raises(CommandError):
        second.exec("babel", "false")
    with pytest.raises(LabError, match="no node nowhere"):
        second.exec("nowhere", "true")


def test_an_image_can_be_taken_away_and_given_back(second: Lab) -> None:
    def images() -> str:
        return second.exec("babel", "ctr", "-n", "k8s.io", "images", "list", "-q").stdout

    name = f"/{versions.BASE_IMAGE}\n"
    assert name in images()
    second.remove_image("babel", versions.BASE_IMAGE)
    assert name not in images()
    second.load_image(ensure_base_image(), nodes=["babel"])
    assert name in images()


def test_a_killed_node_comes_back_and_runs_pods(second: Lab) -> None:
    second.kill_node("babel")
    assert "babel" not in second.nodes
    with pytest.raises(LabError):
        second.kill_node("babel")
    second.start_node("babel")
    assert second.nodes == ("anubis", "babel")
    spec = f"--overrides={json.dumps({'spec': {'nodeName': 'babel'}})}"
    again = ("--", "tail", "-f", "/dev/null")
    second.kubectl("run", "again", spec, f"--image={versions.BUSYBOX_IMAGE}", *again)
    second.kubectl("wait", "--for=condition=Ready", "pod/again", "--timeout=60s", timeout=70)


def test_the_api_server_can_be_away(second: Lab) -> None:
    second.stop_apiserver()
    with pytest.raises(CommandError):
        second.kubectl("get", "nodes", timeout=20)
    second.start_apiserver()
    assert set(read_node_readiness(second)) == {"anubis", "babel"}


def test_reset_makes_the_cluster_as_new(second: Lab) -> None:
    second.kubectl("create", "namespace", "left-over")
    second.add_node("seth")
    assert read_node_readiness(second)["seth"] == "True"
    access = second.kubeconfig.read_text()
    second.reset()
    assert second.nodes == ("anubis", "babel")
    assert read_node_readiness(second) == {"anubis": "True", "babel": "True"}
    namespaces = second.kubectl("get", "namespaces", "-o", "name").split()
    assert "namespace/left-over" not in namespaces
    assert second.kubeconfig.read_text() == access
    second.kubectl(
        "run", "new", f"--image={versions.BUSYBOX_IMAGE}", "--", "tail", "-f", "/dev/null"
    )
    wait_for(
        "a pod on the new cluster",
        lambda: "Running" in second.kubectl("get", "pod", "new"),
        timeout=60,
    )
