"""The options of a lab, and the addresses, names and paths derived from them."""

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
"""The provider's search domain. With --poisoned, every name under it answers NOERROR, empty."""

DEFAULT_NODES = ("anubis", "babel", "ra")
REGISTRY_PORT = 32000
API_PORT = 16443


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """The options of one lab. Labs with different names can run side by side.

    poisoned: the DNS server answers every name under SEARCH_DOMAIN with NOERROR and no address.
    aaaa: it answers AAAA queries for every name that has an A record, with unroutable addresses.
    no_ipv6_route: nodes and pods have IPv6 addresses, but no IPv6 route leads outside.
    cut_egress: only the mirror's pods may open connections to the outside.
    calico: use Calico's CNI plugin and IPAM instead of bridge and host-local.
    archives: paths of image archives that every node has from the start, besides the lab's own
    images. Importing one later takes seconds per node, and kubelets report it half a minute later.
    hosts: names and addresses that the DNS server knows, besides index.example (the lab's router).
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
    node_grace: int = 50  # seconds without a heartbeat until a node is NotReady
    restart_period: str = ""  # the kubelets' maximum back-off between container restarts

    @classmethod
    def with_all_faults(cls, name: str = "lab") -> LabOptions:
        """Return the options of a lab with all four network faults at once."""
        return cls(name=name, poisoned=True, aaaa=True, no_ipv6_route=True, cut_egress=True)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LabOptions:
        data: dict[str, Any] = json.loads(text)
        data = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
        return cls(**data)


def state_root() -> Path:
    """Return the folder of running labs: $MIRROR_TEST_STATE, or `labs` in the cache folder."""
    override = os.environ.get("MIRROR_TEST_STATE")
    return Path(override).resolve() if override else cache_root() / "labs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The names, addresses and paths of one lab.

    Labs differ only in index, which is part of every name that they share with the machine: links,
    routes, the nft table, cgroups. Inside its network namespace every lab has the same addresses,
    those of the cluster in which the problem was reported.
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
        """Return the prefix of names on the machine. With a suffix: at most 15 characters."""
        return f"mlab{self.index}"

    @property
    def node_network(self) -> IPv4Network:
        return IPv4Network(f"10.99.{self.index}.0/24")

    @property
    def router(self) -> IPv4Address:
        """Return the bridge's address: the nodes' gateway, API server and DNS server."""
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
        """Return the address of the machine's end of the link into the lab."""
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
        """Return the log folder. It is outside the lab's folder, so logs outlive the lab."""
        return self.folder.parent / "logs" / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def node_folder(self, node: str) -> Path:
        return self.folder / "nodes" / node

    def cgroup(self, node: str) -> str:
        return f"{self.id}-{node}"
