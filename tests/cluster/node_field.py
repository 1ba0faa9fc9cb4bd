"""Calico's objects on an API server and one bare host: where the fixes of the nodes are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.changes import node_keep
from deploy.changes.engine import Engine
from deploy.changes.model import Change, NodeFile, NodeSysctl, Refusal
from deploy.cluster.client import Cluster
from deploy.evidence.codec import load
from deploy.evidence.host import HostView
from deploy.evidence.model import Evidence, Node, NodeHost
from deploy.evidence.network import read_calico, read_pools
from deploy.standing import every, known
from tests.cluster.apiserver import ApiServer
from tests.cluster.bare_hosts import Host, LocalHand
from tests.cluster.calico.objects import CONFIG
from tests.cluster.changing import World

FIXES = ("pod-sysctl", "host-sysctl", "ippool")
POOL = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "nodeSelector": "all()"}


@dataclass(frozen=True, slots=True)
class Field:
    """Calico's objects on an API server, and one host."""

    world: World
    host: Host
    server: ApiServer

    def engine(self) -> Engine:
        cluster = self.world.cluster()
        hand = LocalHand(cluster, {"babel": self.host})
        return Engine(cluster, every(), {NodeFile: hand, NodeSysctl: hand})

    def evidence(self, cluster: Cluster) -> Evidence:
        view = load(HostView, self.host.ask({"do": "look"}))
        node = Node(name="babel", ready=True, architecture="amd64", addresses=("10.0.0.3",))
        return Evidence(
            context="c",
            taken="",
            server="https://10.0.0.1:16443",
            nodes=(node,),
            hosts=(NodeHost(node="babel", view=view),),
            calico=read_calico(cluster),
            ip_pools=read_pools(cluster),
            api_addresses=("10.0.0.1",),
        )

    def decide(self, works: Engine, **options: Any) -> list[Change]:
        found: list[Change] = []
        seen = self.evidence(self.world.cluster())
        for name in FIXES:
            made = known()[name].changes(seen, options, works.held(name))
            assert not isinstance(made, Refusal), made
            found += made
        return found

    def apply(self, **options: Any) -> None:
        works = self.engine()
        with works.only_writer():
            for step in works.plan(self.decide(works, **options)):
                works.do(step)

    def keep(self) -> set[node_keep.Place]:
        """As a keeper tells the agent; what is kept then."""
        cluster, pods = self.world.cluster(), {"babel": self.host.socket}
        return node_keep.tell(cluster, self.engine(), known(), pods)

    def rollback(self) -> None:
        works = self.engine()
        with works.only_writer():
            for step in works.plan_rollback(FIXES):
                works.do(step)

    def edit_pool(self, **fields: Any) -> None:
        """As somebody else does; None takes a field away."""
        cluster = self.world.cluster()
        pool = cluster.get("IPPool", "default-ipv6-ippool")
        assert pool
        spec = {**pool["spec"], **fields}
        pool["spec"] = {key: value for key, value in spec.items() if value is not None}
        cluster.replace(pool)

    def state(self) -> dict[str, Any]:
        cluster = self.world.cluster()
        config = cluster.get("ConfigMap", "calico-config", "kube-system")
        daemon = cluster.get("DaemonSet", "calico-node", "kube-system")
        pool = cluster.get("IPPool", "default-ipv6-ippool")
        assert config
        assert daemon
        return {
            "host": self.host.state(),
            "config": config["data"],
            "calico": daemon["spec"],
            "pool": pool and (pool["spec"], pool["metadata"].get("labels")),
            "orders": cluster.get("ConfigMap", "pypi-mirror-node-orders", "kube-system"),
            "left": self.world.left(),
        }


def on_the_node(template: str) -> str:
    words = {"KUBERNETES_NODE_NAME": "babel", "KUBECONFIG_FILEPATH": "/k", "CNI_MTU": "1440"}
    for word, value in words.items():
        template = template.replace(f"__{word}__", value)
    return template


def objects() -> dict[str, Any]:
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
            "data": {"cni_network_config": CONFIG % "true"},
        },
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": named, "spec": spec},
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "IPPool",
            "metadata": {"name": "default-ipv6-ippool", "labels": {"mine": "yes"}},
            "spec": POOL,
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
