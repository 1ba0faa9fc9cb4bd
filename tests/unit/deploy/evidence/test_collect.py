"""Collecting evidence, and what happens to subjects that this user may not see."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster
from deploy.cluster.pod_run import PodRun
from deploy.evidence import collect as collecting
from deploy.evidence import dns, probe_pods
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.coredns import CorefileConfigMap
from deploy.evidence.dns import DnsService
from deploy.evidence.model import Need
from deploy.evidence.nodes import NodeState
from deploy.evidence.pods import PodState
from deploy.evidence.unseen import Unseen, require_seen
from mirror.core.errors import InputError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from mirror.probe.model import PodDns

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
NODE = {
    "metadata": {"name": "ra"},
    "spec": {"podCIDRs": ["10.1.4.0/24"]},
    "status": {
        **READY,
        "nodeInfo": {"architecture": "arm64"},
        "addresses": [
            {"type": "InternalIP", "address": "10.99.0.4"},
            {"type": "Hostname", "address": "ra"},
        ],
    },
}
SERVICE = {
    "metadata": {"name": "kube-dns"},
    "spec": {"clusterIP": "10.152.183.10", "selector": {"k8s-app": "kube-dns"}},
}
POD = {
    "metadata": {"name": "coredns-1", "namespace": "kube-system", "uid": "1"},
    "spec": {"nodeName": "ra", "containers": [{"name": "c", "image": "i"}]},
    "status": {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrPull"}}}]},
}


class FakeOneNodeCluster:
    """A cluster with one node; ``refused`` kinds answer 403."""

    context, server = "fake", "https://192.0.2.1"

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.deadline = Deadline.after(5)

    def version(self) -> str:
        return "v1"

    def _check(self, kind: str) -> None:
        if kind in self.refused:
            raise ApiError(403, "Forbidden", f"you cannot read {kind}", "refused", "")

    def is_allowed(self, verb: str, resource: str, namespace: str | None = None) -> bool:
        return not self.refused

    def get(self, kind: str, name: str, namespace: str | None = None) -> Any:
        self._check(kind)
        objects = {
            ("Service", "kube-dns"): SERVICE,
            ("ConfigMap", "coredns"): {"data": {"Corefile": ".:53 {}"}},
        }
        return objects.get((kind, name))

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Any:
        self._check(kind)
        if kind in {"IPPool", "Installation"}:
            raise ApiError(404, "NotFound", "no such resource", "refused", "")
        return {"Node": [NODE], "Pod": [POD]}.get(kind, [])

    def read_log(self, *words: str, **options: Any) -> str:
        return ""


def collect_all(options: CollectOptions, *refused: str) -> Any:
    return collect(cast("Cluster", FakeOneNodeCluster(*refused)), frozenset(Need), options)


def test_collects_from_the_api_without_pods() -> None:
    evidence = collect_all(CollectOptions(namespace="pypi-mirror"))
    node = NodeState(
        name="ra",
        ready=True,
        architecture="arm64",
        addresses=("10.99.0.4",),
        pod_cidrs=("10.1.4.0/24",),
    )
    assert evidence.nodes == (node,)
    assert evidence.dns_service == DnsService(
        name="kube-system/kube-dns", addresses=("10.152.183.10",), selector="k8s-app=kube-dns"
    )
    assert evidence.dns_pods == (
        PodState(name="coredns-1", node="ra", ready=False, trouble="ErrPull"),
    )
    assert evidence.corefile == CorefileConfigMap(
        namespace="kube-system", name="coredns", text=".:53 {}"
    )
    assert "no probe image" in evidence.pod_dns.reason


def test_a_missing_permission_leaves_the_rest_seen() -> None:
    evidence = collect_all(CollectOptions(namespace="pypi-mirror"), "ConfigMap", "Node")
    assert evidence.corefile == Unseen(reason="you cannot read ConfigMap")
    assert evidence.nodes == Unseen(reason="you cannot read Node")
    assert isinstance(evidence.dns_service, DnsService)


@pytest.mark.parametrize("kind", [*API_RESOURCES])
def test_no_missing_permission_stops_the_collection(kind: str) -> None:
    assert collect_all(CollectOptions(namespace="pypi-mirror"), kind).context == "fake"


def test_needs_node_names_without_permission_to_list_nodes() -> None:
    options = CollectOptions(namespace="pypi-mirror", image="i", names=("index.example",))
    assert "pass --node" in collect_all(options, "Node").pod_dns.reason


def test_rejects_a_node_that_does_not_exist() -> None:
    options = CollectOptions(
        namespace="pypi-mirror", image="i", names=("index.example",), nodes=("rah",)
    )
    with pytest.raises(InputError, match="no node 'rah'"):
        collect_all(options)


def test_pod_dns_is_unseen_without_permission_to_create_pods() -> None:
    options = CollectOptions(namespace="pypi-mirror", image="i", names=("index.example",))
    (node,) = require_seen(collect_all(options, "Namespace").pod_dns)
    assert node.view == Unseen(reason="no probe pods: you cannot read Namespace")


def test_does_not_probe_nodes_that_are_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    not_ready = NodeState(name="ra", ready=False, architecture="amd64")
    monkeypatch.setattr(collecting, "read_nodes_and_others", lambda _: ((not_ready,), ()))
    options = CollectOptions(namespace="pypi-mirror", image="i", names=("index.example",))
    (node,) = require_seen(collect_all(options).pod_dns)
    assert node.view == Unseen(reason="the node is not Ready")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (
            PodRun(name="p", node="ra", exit_code=None, output="", why="ErrImagePull"),
            "ErrImagePull",
        ),
        (
            PodRun(name="p", node="ra", exit_code=1, output="No module named mirror.probe"),
            "exited with 1",
        ),
        (PodRun(name="p", node="ra", exit_code=2, output="usage: …"), "another version"),
        (PodRun(name="p", node="ra", exit_code=0, output="{}"), "cannot read"),
        (PodRun(name="p", node="ra", exit_code=0, output="noise"), "cannot read"),
    ],
)
def test_a_probe_that_fails_is_unseen(run: PodRun, reason: str) -> None:
    view = probe_pods.read_result(run, PodDns)
    assert isinstance(view, Unseen)
    assert reason in view.reason


def test_a_probe_pod_has_the_dns_of_a_workload() -> None:
    spec = probe_pods.render_pod("image", "home", "ra", ["dns", "--name", "index.example:80"])[
        "spec"
    ]
    assert "dnsConfig" not in spec
    assert "dnsPolicy" not in spec
    assert spec["nodeName"] == "ra"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["command"] == [
        *("python3", "-m", "mirror.probe", "dns", "--name", "index.example:80")
    ]


def test_passes_names_and_the_mirror_to_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run_probe(*_: Any, command: list[str], **__: Any) -> dict[str, Any]:
        commands.append(command)
        return {}

    monkeypatch.setattr(dns, "run_probe", run_probe)
    cluster = cast("Cluster", FakeOneNodeCluster())
    names, mirror = ("index.example:80",), "10.152.183.7:3141"
    dns.probe_dns(cluster, "image", "home", ("ra",), names, mirror, SILENT)
    assert commands == [["dns", "--name", "index.example:80", "--mirror", "10.152.183.7:3141"]]


def test_creates_no_pods_if_no_node_is_ready() -> None:
    cluster = cast("Cluster", FakeOneNodeCluster("Namespace", "Pod"))
    assert dns.probe_dns(cluster, "image", "home", (), ("index.example",), None, SILENT) == {}
