"""Collecting evidence, and what happens to subjects that this user may not see."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.pod_run import PodRun
from deploy.evidence import collect as collecting
from deploy.evidence import dns, probe_pods
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.coredns import CorefileConfigMap
from deploy.evidence.dns import DnsService
from deploy.evidence.model import Evidence, Need
from deploy.evidence.nodes import NodeState
from deploy.evidence.pods import PodState
from deploy.evidence.unseen import NOT_COLLECTED, Unseen, require_seen
from mirror.core.codec import dump, load
from mirror.core.errors import InputError
from mirror.core.progress import SILENT
from mirror.probe.model import PodDns
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
NODE = {
    "kind": "Node",
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
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system"},
    "spec": {"clusterIP": "10.152.183.10", "selector": {"k8s-app": "kube-dns"}},
}
POD = {
    "kind": "Pod",
    "metadata": {
        "name": "coredns-1",
        "namespace": "kube-system",
        "uid": "1",
        "labels": {"k8s-app": "kube-dns"},
    },
    "spec": {"nodeName": "ra", "containers": [{"name": "c", "image": "i"}]},
    "status": {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrPull"}}}]},
}


def make_cluster(*refused: str) -> DirectCluster:
    """Return a cluster with one node, whose user may not read the kinds ``refused``."""
    api = MemoryApi()
    metadata = {"name": "coredns", "namespace": "kube-system"}
    config_map = {"kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": ".:53 {}"}}
    api.seed(NODE, SERVICE, POD, config_map)
    user = api.add_user("limited", [Rule("*", "*")])
    for kind in refused:
        resource = API_RESOURCES[kind]
        user.withheld.append(Rule("get list", resource.plural, groups=(resource.group,)))
    return DirectCluster(api, user)


def collect_all(options: CollectOptions, *refused: str) -> Any:
    return collect(make_cluster(*refused), frozenset(Need), options)


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


def list_collected(evidence: Evidence) -> set[str]:
    return {need.value for need in Need if getattr(evidence, need.value) != NOT_COLLECTED}


def test_every_subject_has_a_reader() -> None:
    evidence = collect_all(CollectOptions(namespace="tools"))
    assert list_collected(evidence) == {
        *("nodes", "dns_service", "dns_pods", "corefile", "pod_dns", "access", "ip_pools"),
        *("calico", "mirror", "workloads", "warning_events", "coredns", "hosts"),
        *("api_addresses", "reconciler"),
    }, "only the fixes, which the ledger knows, are read elsewhere"
    assert evidence.mirror.namespace == "tools"
    # each reader fills the field of its own type
    assert load(Evidence, dump(evidence)) == evidence


@pytest.mark.parametrize("need", [*Need])
def test_collects_what_is_needed_and_no_more(need: Need) -> None:
    evidence = collect(make_cluster(), frozenset({need}), CollectOptions(namespace="tools"))
    assert list_collected(evidence) == {"nodes", need.value} - {"fixes"}


def test_a_missing_permission_leaves_the_rest_seen() -> None:
    evidence = collect_all(CollectOptions(namespace="pypi-mirror"), "ConfigMap", "Node")
    assert 'cannot get resource "configmaps"' in evidence.corefile.reason
    assert 'cannot list resource "nodes"' in evidence.nodes.reason
    assert isinstance(evidence.dns_service, DnsService)


@pytest.mark.parametrize("kind", [*API_RESOURCES])
def test_no_missing_permission_stops_the_collection(kind: str) -> None:
    assert collect_all(CollectOptions(namespace="pypi-mirror"), kind).context == "memory"


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
    assert isinstance(node.view, Unseen)
    assert node.view.reason.startswith("no probe pods: namespaces ")
    assert 'cannot get resource "namespaces"' in node.view.reason


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
    cluster = make_cluster()
    names, mirror = ("index.example:80",), "10.152.183.7:3141"
    dns.probe_dns(cluster, "image", "home", ("ra",), names, mirror, SILENT)
    assert commands == [["dns", "--name", "index.example:80", "--mirror", "10.152.183.7:3141"]]


def test_creates_no_pods_if_no_node_is_ready() -> None:
    cluster = make_cluster("Namespace", "Pod")
    assert dns.probe_dns(cluster, "image", "home", (), ("index.example",), None, SILENT) == {}
