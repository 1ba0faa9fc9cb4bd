"""Calico's objects on an API server and one bare host, for tests of node fixes."""

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
from deploy.fix_registry import load_editors, load_fixes
from deploy.repair import node_agents, reconciler
from mirror.core.codec import load
from mirror.reconciler.reconcile import ObjectReconciler
from tests.cluster.apiserver import ApiServer, run_api_server
from tests.cluster.bare_hosts import BareHost, BareHostDriver, bare_host
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE, render_crds, render_v3_pool_crd
from tests.cluster.waiting import wait_for
from tests.fix_targets import FixTargets

FIXES = ("pod-sysctl", "host-sysctl", "ippool")
IPV6_POOL, V3_POOL_KIND = "default-ipv6-ippool", "IPPool.projectcalico.org"
POOL_SPEC = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "nodeSelector": "all()"}


@dataclass(frozen=True, slots=True)
class NodeFixCluster:
    """The API server, its objects and the host. pool_kind is the API kind that has the pools."""

    targets: FixTargets
    host: BareHost
    server: ApiServer
    pool_kind: str = "IPPool"

    def make_engine(self) -> ChangeEngine:
        cluster = self.targets.connect()
        driver = BareHostDriver(cluster, {"babel": self.host})
        return ChangeEngine(cluster, load_editors(), {NodeFile: driver, NodeSysctl: driver})

    def collect_evidence(self, cluster: Cluster) -> Evidence:
        """Return the evidence that the node fixes need."""
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

    def decide_changes(self, engine: ChangeEngine, **options: Any) -> list[Change]:
        """Return the changes of all node fixes."""
        changes: list[Change] = []
        evidence = self.collect_evidence(self.targets.connect())
        for name in FIXES:
            plan = load_fixes()[name].plan_changes(evidence, options, engine.applied_changes(name))
            assert not isinstance(plan, Refusal), plan
            changes += plan
        return changes

    def apply(self, **options: Any) -> None:
        """Plan and apply all node fixes."""
        engine = self.make_engine()
        with engine.hold_lease():
            for step in engine.plan(self.decide_changes(engine, **options)):
                engine.apply(step)

    def publish_desired_state(self) -> set[node_agents.NodeTarget]:
        """Send the agent its desired state, as `mirror fix --keep` does; return the targets."""
        cluster, pods = self.targets.connect(), {"babel": self.host.socket}
        return node_agents.sync_agents(cluster, self.make_engine(), load_fixes(), pods)

    def rollback(self) -> None:
        """Roll back all node fixes."""
        engine = self.make_engine()
        with engine.hold_lease():
            for step in engine.plan_rollback(FIXES):
                engine.apply(step)

    def edit_pool(self, **fields: Any) -> None:
        """Edit the pool's spec as another program would; None removes a field."""
        cluster = self.targets.connect()
        pool = cluster.get(self.pool_kind, IPV6_POOL)
        assert pool
        spec = {**pool["spec"], **fields}
        pool["spec"] = {key: value for key, value in spec.items() if value is not None}
        cluster.replace(pool)

    def read_fix_states(self) -> dict[str, str]:
        """Return fix → state."""
        return {state.fix: state.state for state in read_states(self.make_engine(), FIXES)}

    def read_state(self) -> dict[str, Any]:
        """Return the state of the host and of all objects."""
        cluster = self.targets.connect()
        config = cluster.get("ConfigMap", "calico-config", "kube-system")
        daemon_set = cluster.get("DaemonSet", "calico-node", "kube-system")
        pool = cluster.get(self.pool_kind, IPV6_POOL)
        assert config
        assert daemon_set
        return {
            "host": self.host.read_state(),
            "config": config["data"],
            "calico": daemon_set["spec"],
            "pool": pool and (pool["spec"], pool["metadata"].get("labels")),
            "orders": cluster.get("ConfigMap", "pypi-mirror-node-orders", "kube-system"),
            "left": self.targets.list_leftovers(),
        }

    def move_pool_to_v3(self) -> NodeFixCluster:
        """Move the pool to projectcalico.org/v3, as newer Calicos do; return the new cluster."""
        kubectl, pool = self.server.kubectl, self.read_state()["pool"]
        kubectl("delete", "crd", "ippools.crd.projectcalico.org")
        kubectl("create", "-f", "-", stdin=render_v3_pool_crd())
        copy = json.dumps({**_build_pool("projectcalico.org/v3"), "spec": pool[0]})
        wait_for(
            "the v3 pool to be created",
            lambda: kubectl("create", "-f", "-", stdin=copy, check=False),
            timeout=30,
            interval=0.2,
        )
        return replace(self, pool_kind=V3_POOL_KIND)

    def reconcile_objects(self) -> list[str]:
        """Restore all objects once, as the reconciler does; return its messages."""
        messages: list[str] = []
        paths = {
            target.ledger_entry: target.path
            for target in reconciler.select_objects(self.make_engine().entries())
        }
        ObjectReconciler(AdminApi(self.targets.connect()), paths, messages.append).reconcile()
        return messages


@dataclass(frozen=True, slots=True)
class AdminApi:
    """The API calls that the reconciler makes, with the admin's rights."""

    cluster: Cluster

    def get(self, path: str) -> Any:
        return self._request("GET", path)

    def patch(self, path: str, body: Any) -> Any:
        return self._request("PATCH", path, body, "application/json-patch+json")

    def create(self, path: str, body: Any) -> Any:
        return self._request("POST", path, body)

    def _request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        try:
            return json.loads(
                self.cluster.request(method, path, body=body, content_type=content_type)
            )
        except ApiError as error:
            if (method, error.status) == ("GET", 404):
                return None
            raise


@contextmanager
def start_node_fix_cluster(root: Path) -> Iterator[NodeFixCluster]:
    """Start the API server with its objects, and the host, whose files are under root."""
    with (
        run_api_server() as server,
        bare_host(root, fill_placeholders(CNI_CONFIG_TEMPLATE % "true")) as host,
    ):
        server.kubectl("create", "-f", "-", stdin=render_crds())
        wait_for("the pools", lambda: _serves_pools(server), timeout=120)
        server.kubectl("create", "-f", "-", stdin=json.dumps(build_calico_objects()))
        yield NodeFixCluster(FixTargets.of_kubeconfig(server.admin), host, server)


def _serves_pools(server: ApiServer) -> bool:
    group = ("--api-group=crd.projectcalico.org", "-o", "name")
    return "ippools." in server.kubectl("api-resources", *group, check=False)


def fill_placeholders(template: str) -> str:
    """Render a CNI configuration as Calico does for node babel."""
    values = {"KUBERNETES_NODE_NAME": "babel", "KUBECONFIG_FILEPATH": "/k", "CNI_MTU": "1440"}
    for name, value in values.items():
        template = template.replace(f"__{name}__", value)
    return template


def build_calico_objects() -> dict[str, Any]:
    """Return calico-config, the DaemonSet and the IPv6 pool as a List."""
    metadata = {"name": "calico-node", "namespace": "kube-system"}
    labels = {"k8s-app": "calico-node"}
    env = [{"name": "IP6", "value": "autodetect"}]
    container = {"name": "calico-node", "image": "calico:1", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    items = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "name": "calico-config"},
            "data": {"cni_network_config": CNI_CONFIG_TEMPLATE % "true"},
        },
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec},
        _build_pool(),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _build_pool(api: str = "crd.projectcalico.org/v1") -> dict[str, Any]:
    metadata = {"name": IPV6_POOL, "labels": {"mine": "yes"}}
    return {"apiVersion": api, "kind": "IPPool", "metadata": metadata, "spec": POOL_SPEC}
