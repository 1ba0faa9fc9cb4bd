"""A second lab beside the first: operations on its nodes and its control plane."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.cluster import versions
from tests.cluster.images import ensure_base_image
from tests.cluster.lab import Lab, LabError, running_lab
from tests.cluster.objects import has_condition
from tests.cluster.options import LabOptions
from tests.cluster.process import CommandError
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def second_lab(faulty_lab: Lab) -> Iterator[Lab]:
    """Provide a lab with two nodes and no faults."""
    options = LabOptions(name=f"second_lab-{os.getpid()}", nodes=("anubis", "babel"))
    with running_lab(options) as lab:
        yield lab


def read_node_readiness(lab: Lab) -> dict[str, bool]:
    """Return node → whether it is Ready."""
    return {
        node["metadata"]["name"]: has_condition(node, "Ready") for node in lab.get_items("nodes")
    }


def test_two_labs_run_side_by_side(faulty_lab: Lab, second_lab: Lab) -> None:
    assert faulty_lab.site.index != second_lab.site.index
    assert set(read_node_readiness(faulty_lab)) == {"anubis", "babel", "ra"}
    assert set(read_node_readiness(second_lab)) == {"anubis", "babel"}
    path = "jsonpath={.spec.clusterIP}"
    for lab in (faulty_lab, second_lab):
        get = ("get", "service", "-n", "kube-system", "kube-dns", "-o", path)
        assert lab.kubectl(*get) == "10.152.183.10"


def test_a_lab_without_options_has_no_faults(second_lab: Lab) -> None:
    assert second_lab.exec("babel", "cat", "/etc/resolv.conf").stdout == (
        f"nameserver {second_lab.site.router}\n"
    )
    assert second_lab.exec("babel", "ip", "-6", "route", "show", "default").stdout == ""
    assert "fd70" not in second_lab.exec("babel", "ip", "-6", "address", "show", "eth0").stdout


def test_exec_runs_on_a_node(second_lab: Lab) -> None:
    assert second_lab.exec("babel", "hostname").stdout == "babel\n"
    assert second_lab.exec("babel", "cat", stdin="given").stdout == "given"
    assert second_lab.address("babel") == second_lab.site.node_address(3)
    with pytest.raises(CommandError):
        second_lab.exec("babel", "false")
    with pytest.raises(LabError, match="no node nowhere"):
        second_lab.exec("nowhere", "true")


def test_removes_and_imports_an_image(second_lab: Lab) -> None:
    def list_images() -> str:
        return second_lab.exec("babel", "ctr", "-n", "k8s.io", "images", "list", "-q").stdout

    name = f"/{versions.BASE_IMAGE}\n"
    assert name in list_images()
    second_lab.remove_image("babel", versions.BASE_IMAGE)
    assert name not in list_images()
    second_lab.load_image(ensure_base_image(), nodes=["babel"])
    assert name in list_images()


def test_a_restarted_node_runs_pods(second_lab: Lab) -> None:
    second_lab.kill_node("babel")
    assert "babel" not in second_lab.nodes
    with pytest.raises(LabError):
        second_lab.kill_node("babel")
    second_lab.start_node("babel")
    assert second_lab.nodes == ("anubis", "babel")
    overrides = f"--overrides={json.dumps({'spec': {'nodeName': 'babel'}})}"
    command = ("--", "tail", "-f", "/dev/null")
    second_lab.kubectl("run", "again", overrides, f"--image={versions.BUSYBOX_IMAGE}", *command)
    second_lab.kubectl("wait", "--for=condition=Ready", "pod/again", "--timeout=60s", timeout=70)


def test_stops_and_starts_the_api_server(second_lab: Lab) -> None:
    second_lab.stop_apiserver()
    with pytest.raises(CommandError):
        second_lab.kubectl("get", "nodes", timeout=20)
    second_lab.start_apiserver()
    assert set(read_node_readiness(second_lab)) == {"anubis", "babel"}


def test_reset_empties_the_cluster(second_lab: Lab) -> None:
    second_lab.kubectl("create", "namespace", "left-over")
    second_lab.add_node("seth")
    assert read_node_readiness(second_lab)["seth"]
    access = second_lab.kubeconfig.read_text()
    second_lab.reset()
    assert second_lab.nodes == ("anubis", "babel")
    assert read_node_readiness(second_lab) == {"anubis": True, "babel": True}
    namespaces = second_lab.kubectl("get", "namespaces", "-o", "name").split()
    assert "namespace/left-over" not in namespaces
    assert second_lab.kubeconfig.read_text() == access
    second_lab.kubectl(
        "run", "new", f"--image={versions.BUSYBOX_IMAGE}", "--", "tail", "-f", "/dev/null"
    )
    wait_for(
        "a pod on the new cluster",
        lambda: "Running" in second_lab.kubectl("get", "pod", "new"),
        timeout=60,
    )
