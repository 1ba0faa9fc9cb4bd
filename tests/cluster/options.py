"""What a lab is asked to be, and every address and name that follows from it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from tests.cluster.cache import cache_root

SEARCH_DOMAIN = "communityfibre.co.uk"
"""The provider's domain of the field: with --poisoned every name under it answers NOERROR."""

DEFAULT_NODES = ("anubis", "babel", "ra")
REGISTRY_PORT = 32000
API_PORT = 16443


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """One lab. Two with different names stand side by side; both look as in the field inside.

    hosts gives names that the lab's DNS server answers with an address of its own choice,
    besides index.example, which is the lab's router. calico: pods are connected by Calico's own
    plugin and IPAM, dual stack with no_ipv6_route, instead of bridge and host-local. archives:
    paths of images that every node has from the start, besides the lab's own; importing one
    later costs each node seconds, and kubelets tell of it half a minute after.
    """

    name: str = "lab"
    nodes: tuple[str, ...] = DEFAULT_NODES
    poisoned: bool = False
    aaaa: bool = False
    no_ipv6_route: bool = False
    cut_egress: bool = False
    calico: bool = False
    archives: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    api_flags: tuple[str, ...] = ()
    node_grace: int = 50  # seconds after which a silent node is NotReady
    restart_period: str = ""  # the longest that kubelets wait before they start a container again

    @classmethod
    def with_all_faults(cls, name: str = "lab") -> LabOptions:
        """A lab with every trouble of the field at once."""
        return cls(name=name, poisoned=True, aaaa=True, no_ipv6_route=True, cut_egress=True)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LabOptions:
        data = json.loads(text)
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**given)


def state_root() -> Path:
    """Where running labs keep their disks; MIRROR_TEST_STATE overrides the cache folder."""
    given = os.environ.get("MIRROR_TEST_STATE")
    return Path(given).resolve() if given else cache_root() / "labs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The names, addresses and paths of one lab.

    index is the only number that differs between labs: it is in everything that the machine
    shares (links, routes, the nft table, cgroups). What is inside the lab's own network namespace
    is the same in each lab, and as in the field.
    """

    name: str
    index: int
    folder: Path

    pods = IPv4Network("10.1.0.0/16")
    services = IPv4Network("10.152.183.0/24")
    dns_service = IPv4Address("10.152.183.10")
    api_service = IPv4Address("10.152.183.1")
    ipv6_network = IPv6Network("fd70:8823:7283::/48")
    ipv6_services = IPv6Network("fd70:8823:7283:f000::/112")
    bridge = "lab-br"
    uplink = "uplink"

    @property
    def id(self) -> str:
        """The prefix of all that the machine shares; at most 15 characters with its ending."""
        return f"mlab{self.index}"

    @property
    def node_network(self) -> IPv4Network:
        return IPv4Network(f"10.99.{self.index}.0/24")

    @property
    def router(self) -> IPv4Address:
        """The bridge's address: API server, DNS server and gateway of the nodes."""
        return self.node_network[1]

    @property
    def ipv6_router(self) -> IPv6Address:
        return self.ipv6_network[1]

    def node_address(self, number: int) -> IPv4Address:
        return self.node_network[number]

    def ipv6_node_address(self, number: int) -> IPv6Address:
        return self.ipv6_network[number]

    def node_pods(self, number: int) -> IPv4Network:
        return list(self.pods.subnets(new_prefix=24))[number]

    def ipv6_node_pods(self, number: int) -> IPv6Network:
        return IPv6Network((int(self.ipv6_network[0]) + (number << 64), 64))

    @property
    def uplink_outer(self) -> IPv4Interface:
        """The machine's end of the link into the lab."""
        return IPv4Interface(f"10.98.{self.index}.1/30")

    @property
    def uplink_inner(self) -> IPv4Interface:
        return IPv4Interface(f"10.98.{self.index}.2/30")

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def control(self) -> Path:
        return self.folder / "control"

    @property
    def logs(self) -> Path:
        """Outside the folder of the lab: they outlive it, for who looks for a cause."""
        return self.folder.parent / "logs" / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def node_folder(self, node: str) -> Path:
        return self.folder / "nodes" / node

    def cgroup(self, node: str) -> str:
        return f"{self.id}-{node}"
