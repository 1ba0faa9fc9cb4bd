"""Evidence of two nodes with Calico, for the tests of fixes that change nodes."""

from __future__ import annotations

import json
from typing import Any

from deploy.changes.fix import Refusal
from deploy.changes.model import Change
from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.hosts import ConflistFile, HostView, NodeHost
from deploy.evidence.model import Evidence
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen

TEXT = json.dumps(
    {
        "name": "k8s-pod-network",
        "plugins": [
            {"type": "calico", "ipam": {"type": "calico-ipam", "assign_ipv6": "true"}},
            {"type": "portmap"},
            {"type": "bandwidth"},
        ],
    }
)
PATH = "/etc/cni/net.d/10-calico.conflist"
HOST = HostView(
    net_d="/etc/cni/net.d",
    conflists=(ConflistFile(path=PATH, text=TEXT),),
    plugins=("calico", "tuning"),
    allowlist=None,
    links=(("all", "0"), ("default", "0"), ("eth0", "0"), ("lo", "0")),
    addresses=("eth0 fd70::2/64", "lo ::1/128"),
    sysctl_lines=(),
)
CALICO = Calico(
    namespace="kube-system", operator=False, installed=True, env=("IP6=autodetect",), config=TEXT
)
POOLS = (
    IpPool(name="default-ipv4-ippool", cidr="10.1.0.0/16"),
    IpPool(name="default-ipv6-ippool", cidr="fd70:8823:7283::/48", pods=("chronicle/a",)),
)


def make_evidence(
    host: HostView | Unseen = HOST, *, ready: bool = True, address: str = "10.0.0.3", **fields: Any
) -> Evidence:
    """Evidence of node anubis with HOST, and node babel as given."""
    nodes = (
        NodeState(name="anubis", ready=True, architecture="amd64", addresses=("10.0.0.2",)),
        NodeState(name="babel", ready=ready, architecture="amd64", addresses=(address,)),
    )
    hosts = (NodeHost(node="anubis", view=HOST), NodeHost(node="babel", view=host))
    defaults: dict[str, Any] = {
        "calico": CALICO,
        "ip_pools": POOLS,
        "server": "https://10.0.0.1:1",
        "api_addresses": ("10.0.0.1",),
    }
    return Evidence(context="c", taken="", nodes=nodes, hosts=hosts, **{**defaults, **fields})


def target_names(result: tuple[Change, ...] | Refusal) -> list[str]:
    assert not isinstance(result, Refusal), result
    return [str(change.target) for change in result]


def expect_refusal(result: tuple[Change, ...] | Refusal) -> Refusal:
    assert isinstance(result, Refusal), result
    return result
