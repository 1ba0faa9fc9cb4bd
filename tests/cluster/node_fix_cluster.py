"""Calico's objects on an API server and one bare host: where the fixes of the nodes are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Refusal
from deploy.changes.model import Change, NodeFile, NodeSysctl
from deploy.changes.state import read_states
from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.calico import read_calico, read_ip_pools
from deploy.evidence.hosts import HostView, NodeHost
from deploy.evidence.model import Evidence
from deploy.evidence.nodes import NodeState
from deploy.registry import load_editors, load_fixes
from deploy.repair import node_agents, reconciler
from mirror.core.codec import load
from mirror.reconciler.reconcile import ObjectReconciler
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.bare_hosts import BareHost, BareHostDriver, bare_host
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE, render_crds, render_v3_pool_crd
from tests.cluster.fix_targets import FixTargets
from tests.cluster.waiting import wait_for

FIXES = ("pod-sysctl", "host-sysctl", "ippool")
IPV6_POOL, V3_POOL_KIND = "default-ipv6-ippool", "IPPool.projectcalico.org"
POOL_SPEC = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "nodeSelector": "all()"}


@dataclass(frozen=True, slots=True)
class NodeFixCluster:
    """Calico's objects on an API server, and one host. ``pools``: by which API the pools are."""

    targets: FixTargets
    host: BareHost
    server: ApiServer
    pool_kind: str = "IPPool"

    def make_engine(self) -> ChangeEngine:
        cluster = self.targets.connect()
        hand = BareHostDriver(cluster, {"babel": self.host})
        return ChangeEngine(cluster, load_editors(), {NodeFile: hand, NodeSysctl: hand})

    def collect_evidence(self, cluster: Cluster) -> Evidence:
        view = load(HostView, self.host.ask_agent({"do": "look"}))
        node = NodeState(name="babel", ready=True, architecture="amd64", addresses=("10.0.0.3",))
        return Evidence(
            context="c",
            taken="",
            server="https://10.0.0.1:16443",
            nodes=(node,),
            hosts=(NodeHost(node="babel", view=view),),
            calico=read_calico(cluster),
            ip_pools=read_ip_pools(cluster),
            api_addresses=("10.0.0.1",),
        )

    def decide_changes(self, works: ChangeEngine, **options: Any) -> list[Change]:
        found: list[Change] = []
        seen = self.collect_evidence(self.targets.connect())
        for name in FIXES:
            made = load_fixes()[name].plan_changes(seen, options, works.applied_changes(name))
            assert not isinstance(made, Refusal), made
            found += made
        return found

    def apply(self, **options: Any) -> None:
        works = self.make_engine()
        with works.hold_lease():
            for step in works.plan(self.decide_changes(works, **options)):
                works.apply(step)

    def publish_desired_state(self) -> set[node_agents.NodeTarget]:
        """As a keeper tells the agent; what is kept then."""
        cluster, pods = self.targets.connect(), {"babel": self.host.socket}
        return node_agents.sync_agents(cluster, self.make_engine(), load_fixes(), pods)

    def rollback(self) -> None:
        works = self.make_engine()
        with works.hold_lease():
            for step in works.plan_rollback(FIXES):
                works.apply(step)

    def edit_pool(self, **fields: Any) -> None:
        """As somebody else does; None takes a field away."""
        cluster = self.targets.connect()
        pool = cluster.get(self.pool_kind, IPV6_POOL)
        assert pool
        spec = {**pool["spec"], **fields}
        pool["spec"] = {key: value for key, value in spec.items() if value is not None}
        cluster.replace(pool)

    def read_fix_states(self) -> dict[str, str]:
        return {one.fix: one.state for one in read_states(self.make_engine(), FIXES)}

    def read_state(self) -> dict[str, Any]:
        cluster = self.targets.connect()
        config = cluster.get("ConfigMap", "calico-config", "kube-system")
        daemon = cluster.get("DaemonSet", "calico-node", "kube-system")
        pool = cluster.get(self.pool_kind, IPV6_POOL)
        assert config
        assert daemon
        return {
            "host": self.host.read_state(),
            "config": config["data"],
            "calico": daemon["spec"],
            "pool": pool and (pool["spec"], pool["metadata"].get("labels")),
            "orders": cluster.get("ConfigMap", "pypi-mirror-node-orders", "kube-system"),
            "left": self.targets.list_leftovers(),
        }

    def move_pool_to_v3(self) -> NodeFixCluster:
        """The pool as it is, in projectcalico.org/v3 alone, from now on."""
        kubectl, pool = self.server.kubectl, self.read_state()["pool"]
        kubectl("delete", "crd", "ippools.crd.projectcalico.org")
        kubectl("create", "-f", "-", stdin=render_v3_pool_crd())
        made = json.dumps({**_pool("projectcalico.org/v3"), "spec": pool[0]})
        there = ("create", "-f", "-")
        wait_for("it", lambda: kubectl(*there, stdin=made, check=False), timeout=30, interval=0.2)
        return replace(self, pool_kind=V3_POOL_KIND)

    def reconcile_objects(self) -> list[str]:
        """What the keeper of all that is in force says at one look."""
        said: list[str] = []
        pages = {
            one.ledger_entry: one.path
            for one in reconciler.select_objects(self.make_engine().entries())
        }
        ObjectReconciler(AdminApi(self.targets.connect()), pages, said.append).reconcile()
        return said


@dataclass(frozen=True, slots=True)
class AdminApi:
    """What the keeper has of the API, here by the admin's."""

    cluster: Cluster

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def patch(self, path: str, body: Any) -> Any:
        return self._ask("PATCH", path, body, "application/json-patch+json")

    def create(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        try:
            return json.loads(self.cluster.request(method, path, body=body, content_type=kind))
        except ApiError as refusal:
            if (method, refusal.status) == ("GET", 404):
                return None
            raise


@contextmanager
def start_node_fix_cluster(root: Path) -> Iterator[NodeFixCluster]:
    """All of it; the host's files under ``root``."""
    with (
        api_server() as server,
        bare_host(root, fill_placeholders(CNI_CONFIG_TEMPLATE % "true")) as host,
    ):
        server.kubectl("create", "-f", "-", stdin=render_crds())
        wait_for("the pools", lambda: _accepts(server), timeout=120)
        server.kubectl("create", "-f", "-", stdin=json.dumps(build_calico_objects()))
        yield NodeFixCluster(FixTargets(server.admin), host, server)


def _accepts(server: ApiServer) -> bool:
    group = ("--api-group=crd.projectcalico.org", "-o", "name")
    return "ippools." in server.kubectl("api-resources", *group, check=False)


def fill_placeholders(template: str) -> str:
    words = {"KUBERNETES_NODE_NAME": "babel", "KUBECONFIG_FILEPATH": "/k", "CNI_MTU": "1440"}
    for word, value in words.items():
        template = template.replace(f"__{word}__", value)
    return template


def build_calico_objects() -> dict[str, Any]:
    named = {"name": "calico-node", "namespace": "kube-system"}
    labels = {"k8s-app": "calico-node"}
    env = [{"name": "IP6", "value": "autodetect"}]
    container = {"name": "calico-node", "image": "calico:1", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**named, "name": "calico-config"},
            "data": {"cni_network_config": CNI_CONFIG_TEMPLATE % "true"},
        },
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": named, "spec": spec},
        _pool(),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _pool(api: str = "crd.projectcalico.org/v1") -> dict[str, Any]:
    meta = {"name": IPV6_POOL, "labels": {"mine": "yes"}}
    return {"apiVersion": api, "kind": "IPPool", "metadata": meta, "spec": POOL_SPEC}
