"""Calico's objects on an API server and one bare host: where the fixes of the nodes are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy import keep
from deploy.changes import node_keep
from deploy.changes.engine import Engine
from deploy.changes.model import Change, NodeFile, NodeSysctl, Refusal
from deploy.changes.states import states
from deploy.cluster.client import ApiRefusal, Cluster
from deploy.evidence.codec import load
from deploy.evidence.host import HostView
from deploy.evidence.model import Evidence, Node, NodeHost
from deploy.evidence.network import read_calico, read_pools
from deploy.standing import every, known
from mirror.keeper.keep import Keeper
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.bare_hosts import Host, LocalHand, bare_host
from tests.cluster.calico.objects import CONFIG, render_crds, render_v3_pools
from tests.cluster.changing import World
from tests.cluster.waiting import wait_for

FIXES = ("pod-sysctl", "host-sysctl", "ippool")
SIX, V3 = "default-ipv6-ippool", "IPPool.projectcalico.org"
POOL = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "nodeSelector": "all()"}


@dataclass(frozen=True, slots=True)
class Field:
    """Calico's objects on an API server, and one host. ``pools``: by which API the pools are."""

    world: World
    host: Host
    server: ApiServer
    pools: str = "IPPool"

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
        pool = cluster.get(self.pools, SIX)
        assert pool
        spec = {**pool["spec"], **fields}
        pool["spec"] = {key: value for key, value in spec.items() if value is not None}
        cluster.replace(pool)

    def stand(self) -> dict[str, str]:
        return {one.fix: one.state for one in states(self.engine(), FIXES)}

    def state(self) -> dict[str, Any]:
        cluster = self.world.cluster()
        config = cluster.get("ConfigMap", "calico-config", "kube-system")
        daemon = cluster.get("DaemonSet", "calico-node", "kube-system")
        pool = cluster.get(self.pools, SIX)
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

    def moved_to_v3(self) -> Field:
        """The pool as it is, in projectcalico.org/v3 alone, from now on."""
        kubectl, pool = self.server.kubectl, self.state()["pool"]
        kubectl("delete", "crd", "ippools.crd.projectcalico.org")
        kubectl("create", "-f", "-", stdin=render_v3_pools())
        made = json.dumps({**_pool("projectcalico.org/v3"), "spec": pool[0]})
        there = ("create", "-f", "-")
        wait_for("it", lambda: kubectl(*there, stdin=made, check=False), timeout=30, interval=0.2)
        return replace(self, pools=V3)

    def keep_objects(self) -> list[str]:
        """What the keeper of all that is in force says at one look."""
        said: list[str] = []
        pages = {one.page: one.path for one in keep._kept(self.engine().entries())}
        Keeper(Door(self.world.cluster()), pages, said.append).look()
        return said


@dataclass(frozen=True, slots=True)
class Door:
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
        except ApiRefusal as refusal:
            if (method, refusal.status) == ("GET", 404):
                return None
            raise


@contextmanager
def made(root: Path) -> Iterator[Field]:
    """All of it; the host's files under ``root``."""
    with api_server() as server, bare_host(root, on_the_node(CONFIG % "true")) as host:
        server.kubectl("create", "-f", "-", stdin=render_crds())
        wait_for("the pools", lambda: _accepts(server), timeout=120)
        server.kubectl("create", "-f", "-", stdin=json.dumps(objects()))
        yield Field(World(server.admin), host, server)


def _accepts(server: ApiServer) -> bool:
    group = ("--api-group=crd.projectcalico.org", "-o", "name")
    return "ippools." in server.kubectl("api-resources", *group, check=False)


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
        _pool(),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _pool(api: str = "crd.projectcalico.org/v1") -> dict[str, Any]:
    meta = {"name": SIX, "labels": {"mine": "yes"}}
    return {"apiVersion": api, "kind": "IPPool", "metadata": meta, "spec": POOL}
