"""The lab reproduces the reported cluster: nodes, DNS, storage, registry, egress."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dnslib import RCODE, DNSRecord

from tests.cluster import versions
from tests.cluster.binaries import ensure_binaries
from tests.cluster.egress import OPEN_LABELS
from tests.cluster.engine import docker_engine
from tests.cluster.fixtures import ClusterUnderTest
from tests.cluster.images import ensure_system_images
from tests.cluster.lab import Lab
from tests.cluster.objects import has_condition
from tests.cluster.options import SEARCH_DOMAIN
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster


def run_pod(lab: Lab, name: str, *flags: str, image: str = versions.BUSYBOX_IMAGE) -> None:
    """Start a pod that waits forever, and wait until it is ready."""
    command = ("--command", "--", "tail", "-f", "/dev/null")
    lab.kubectl("run", name, f"--image={image}", *flags, *command)
    lab.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout=70)


@contextmanager
def running_pod(
    lab: Lab, name: str, *flags: str, image: str = versions.BUSYBOX_IMAGE
) -> Iterator[None]:
    """Run a pod until the block ends."""
    try:
        run_pod(lab, name, *flags, image=image)
        yield
    finally:
        lab.kubectl("delete", "pod", name, "--now", "--wait=false", "--ignore-not-found")


def pin_to_node(node: str) -> str:
    """Return the kubectl flag that schedules a pod on a node."""
    return f"--overrides={json.dumps({'spec': {'nodeName': node}})}"


def exec_in_pod(lab: Lab, name: str, *argv: str, check: bool = True) -> str:
    return lab.kubectl("exec", name, "--", *argv, check=check)


@pytest.fixture
def outside(faulty_lab: Lab) -> Iterator[str]:
    """Provide the URL of a web server on this machine, outside the cluster."""
    address = str(faulty_lab.site.uplink_outer.ip)
    server = http.server.ThreadingHTTPServer((address, 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def test_nodes_are_ready(cluster: ClusterUnderTest, faulty_lab: Lab) -> None:
    assert cluster.nodes == ("anubis", "babel", "ra")
    nodes = faulty_lab.get_items("nodes")
    for node in nodes:
        assert has_condition(node, "Ready")
        assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{versions.KUBERNETES}"


def test_has_the_reported_addresses(faulty_lab: Lab) -> None:
    path = "jsonpath={.spec.clusterIP}"
    dns = faulty_lab.kubectl("get", "service", "-n", "kube-system", "kube-dns", "-o", path)
    assert dns == "10.152.183.10"
    with running_pod(faulty_lab, "addresses"):
        address = faulty_lab.kubectl("get", "pod", "addresses", "-o", "jsonpath={.status.podIP}")
        assert address.startswith("10.1.")
        resolv = exec_in_pod(faulty_lab, "addresses", "cat", "/etc/resolv.conf")
        assert f"svc.cluster.local cluster.local {SEARCH_DOMAIN}" in resolv


def test_dns_is_poisoned(faulty_lab: Lab) -> None:
    def query(server: str, name: str, kind: str) -> tuple[str, str]:
        reply = DNSRecord.parse(DNSRecord.question(name, kind).send(server, 53, timeout=5))
        return RCODE[reply.header.rcode], " ".join(str(row.rdata) for row in reply.rr)

    router = str(faulty_lab.site.router)
    assert query(router, f"anything.at.all.{SEARCH_DOMAIN}", "A") == ("NOERROR", "")
    assert query(router, "index.example", "A") == ("NOERROR", router)
    assert query(router, "index.example", "AAAA")[1].startswith("2001:db8::")
    assert query(router, "unknown.example", "A") == ("NXDOMAIN", "")
    with running_pod(faulty_lab, "asks"):
        output = exec_in_pod(faulty_lab, "asks", "nslookup", "index.example.")
        assert router in output
        assert "2001:db8::" in output
        output = exec_in_pod(
            faulty_lab, "asks", "nslookup", "kubernetes.default.svc.cluster.local."
        )
        assert "10.152.183.1" in output


def test_pods_have_ipv6_without_a_route_to_the_outside(faulty_lab: Lab) -> None:
    with running_pod(faulty_lab, "six", pin_to_node("babel")):
        addresses = exec_in_pod(faulty_lab, "six", "ip", "-6", "addr", "show", "eth0")
        assert "fd70:8823:7283:" in addresses
        router = str(faulty_lab.site.ipv6_router)
        assert "1 packets received" in exec_in_pod(faulty_lab, "six", "ping", "-c1", "-W2", router)
        output = exec_in_pod(faulty_lab, "six", "ping", "-c1", "-W2", "2001:db8::1", check=False)
        assert "Network is unreachable" in output


def test_pods_reach_pods_on_other_nodes(faulty_lab: Lab) -> None:
    with (
        running_pod(faulty_lab, "here", pin_to_node("anubis")),
        running_pod(faulty_lab, "there", pin_to_node("ra")),
    ):
        address = faulty_lab.kubectl("get", "pod", "there", "-o", "jsonpath={.status.podIP}")
        assert "1 packets received" in exec_in_pod(
            faulty_lab, "here", "ping", "-c1", "-W2", address
        )


def test_a_claim_is_bound_and_keeps_data(faulty_lab: Lab) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    overrides = {
        "spec": {
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [
                {
                    "name": "keeps",
                    "image": versions.BUSYBOX_IMAGE,
                    "command": ["tail", "-f", "/dev/null"],
                    "volumeMounts": [{"name": "d", "mountPath": "/data"}],
                }
            ],
        }
    }
    faulty_lab.apply(claim)
    try:
        for text in ("", "kept"):
            with running_pod(faulty_lab, "keeps", f"--overrides={json.dumps(overrides)}"):
                output = exec_in_pod(
                    faulty_lab, "keeps", "sh", "-c", "cat /data/x; echo kept > /data/x"
                )
                assert output.strip() == text or (not text and "No such file" in output)
            faulty_lab.kubectl("wait", "--for=delete", "pod/keeps", "--timeout=60s", timeout=70)
    finally:
        faulty_lab.kubectl("delete", "pvc", "data", "--wait=false", "--ignore-not-found")


def test_every_node_runs_an_image_pushed_to_the_registry(faulty_lab: Lab, tmp_path: Path) -> None:
    with docker_engine(tmp_path) as engine:
        engine.load(ensure_system_images(ensure_binaries()))
        engine.docker("tag", versions.BUSYBOX_IMAGE, f"{faulty_lab.registry}/pushed:1")
        engine.docker("push", f"{faulty_lab.registry}/pushed:1")
    for node in faulty_lab.nodes:
        with running_pod(
            faulty_lab, f"pulls-{node}", pin_to_node(node), image="localhost:32000/pushed:1"
        ):
            pass


def test_only_the_mirror_may_leave_the_cluster(faulty_lab: Lab, outside: str) -> None:
    fetch = ("timeout", "5", "wget", "-q", "-O", "/dev/null", outside)
    with (
        running_pod(faulty_lab, "cut"),
        running_pod(faulty_lab, "mirror", f"--labels={OPEN_LABELS}"),
    ):
        refused = exec_in_pod(faulty_lab, "cut", *fetch, check=False)
        assert "can't connect to remote host" in refused, "refused at once"
        wait_for(
            "the mirror's pod to connect",
            lambda: not exec_in_pod(faulty_lab, "mirror", *fetch, check=False),
            timeout=60,
        )
        faulty_lab.kubectl("label", "pod", "mirror", "app.kubernetes.io/component-")
        wait_for(
            "the pod without its label to be blocked",
            lambda: "can't connect" in exec_in_pod(faulty_lab, "mirror", *fetch, check=False),
            timeout=60,
        )
    assert faulty_lab.exec("ra", "busybox", "timeout", "5", "busybox", "wget", "-O-", outside)
