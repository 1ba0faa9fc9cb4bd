"""Calico read through the API: pools, calico-node, and the conflist it writes to the nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TypeVar

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.calico import (
    CALICO_NAMESPACES,
    CALICO_NODE,
    list_calico_objects,
)
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_container, get_waiting_reasons, is_ready, list_pods
from deploy.evidence.unseen import MaybeSeen, Unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class IpPool:
    """A Calico IPPool, as the API of ``kind`` (of KINDS) has it. ``mode``: ipip, vxlan or none."""

    name: str
    cidr: str
    disabled: bool = False
    nat_outgoing: bool = False
    mode: str = "none"
    node_selector: str = ""
    uses: tuple[str, ...] = ()  # Workload, Tunnel; empty: both
    pods: tuple[str, ...] = ()  # NAMESPACE/NAME of those that have its addresses
    kind: str = "IPPool"

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.cidr else 4

    @property
    def resource(self) -> str:
        """For kubectl."""
        return API_RESOURCES[self.kind].qualified_name


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoNodePod:
    """A pod of calico-node. ``trouble`` says why it is not ready."""

    name: str
    node: str
    ready: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistSettings:
    """What a CNI configuration says of addresses and of IPv6. ``broken``: why it is no JSON."""

    plugins: tuple[str, ...] = ()  # types, in their order
    assign_ipv4: bool = True  # calico-ipam's own default
    assign_ipv6: bool = False
    tunes_ipv6_off: bool = False  # a chained `tuning` sets disable_ipv6
    broken: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calico:
    """Calico as the API shows it; how it was installed decides where it is configured.

    ``config`` is the conflist's template in ConfigMap calico-config, None where there is none.
    ``env`` are the variables of calico-node that decide on IPv6, as NAME=value, where it runs.
    ``etcd`` are the endpoints of a datastore of its own; empty: it is the Kubernetes API.
    """

    namespace: str
    operator: bool  # an Installation of the Tigera operator owns it
    installed: bool  # the DaemonSet calico-node is there
    image: str = ""
    env: tuple[str, ...] = ()
    felix_ipv6: bool | None = None  # FelixConfiguration default, ipv6Support
    config: str | None = None
    etcd: tuple[str, ...] = ()
    conflist: ConflistSettings | None = None  # what that template says; None where there is none
    pods: tuple[CalicoNodePod, ...] = ()

    def get_env(self, name: str) -> str | None:
        """A variable of calico-node; None where it is not set."""
        pairs = (one.partition("=") for one in self.env)
        return next((value for key, _, value in pairs if key == name), None)


T = TypeVar("T")

_PLACE = re.compile(r"__\w+?__")

_CONFIG = ("calico-config", "cni_network_config")
_VARIABLES = {
    "CALICO_IPV4POOL_CIDR",
    "CALICO_IPV6POOL_CIDR",
    "CALICO_IPV6POOL_NAT_OUTGOING",
    "FELIX_IPV6SUPPORT",
    "IP",
    "IP6",
    "IP6_AUTODETECTION_METHOD",
    "IP_AUTODETECTION_METHOD",
    "NO_DEFAULT_POOLS",
}


def read_ip_pools(cluster: Cluster) -> MaybeSeen[tuple[IpPool, ...]]:
    """All pools by name, but for those that are being deleted; none where there is no Calico."""
    there = list_calico_objects(cluster, "IPPool")
    if there is None:
        if read_calico(cluster) is None:
            return ()
        return Unseen(reason="they are in no API of this cluster: calicoctl get ippools -o yaml")
    kind, found = there
    found = [one for one in found if not one["metadata"].get("deletionTimestamp")]
    pods = cluster.list("Pod") if found else []
    made = [_pool(kind, one, pods) for one in found]
    return tuple(sorted(made, key=lambda pool: pool.name))


def _users(cidr: str, pods: list[Object]) -> Iterator[str]:
    """Pods of the network of pods that live, with an address inside."""
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return
    for pod in pods:
        status = pod.get("status", {})
        over = status.get("phase") in {"Succeeded", "Failed"} or pod["spec"].get("hostNetwork")
        addresses = [ip_address(one["ip"]) for one in status.get("podIPs", ()) if one.get("ip")]
        if not over and any(one in network for one in addresses):
            yield f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _pool(kind: str, obj: Object, pods: list[Object]) -> IpPool:
    spec = obj.get("spec", {})
    modes = {"ipip": spec.get("ipipMode", "Never"), "vxlan": spec.get("vxlanMode", "Never")}
    return IpPool(
        kind=kind,
        name=obj["metadata"]["name"],
        cidr=spec.get("cidr", ""),
        disabled=bool(spec.get("disabled")),
        nat_outgoing=bool(spec.get("natOutgoing")),
        mode=next((name for name, mode in modes.items() if mode != "Never"), "none"),
        node_selector=spec.get("nodeSelector", ""),
        uses=tuple(spec.get("allowedUses", ())),
        pods=tuple(_users(spec.get("cidr", ""), pods)),
    )


def read_calico(cluster: Cluster) -> Calico | None:
    """None where nothing of Calico is there."""
    operator = bool(_or_none(lambda: cluster.list("Installation")))
    _, felix = list_calico_objects(cluster, "FelixConfiguration") or ("", [])
    ipv6 = next((_support(one) for one in felix if one["metadata"]["name"] == "default"), None)
    for home in CALICO_NAMESPACES:
        daemon = cluster.get("DaemonSet", CALICO_NODE, home)
        config = cluster.get("ConfigMap", _CONFIG[0], home)
        text = (config or {}).get("data", {}).get(_CONFIG[1])
        if daemon or config:
            return Calico(
                namespace=home,
                operator=operator,
                installed=daemon is not None,
                image=get_container(daemon, CALICO_NODE).get("image", "") if daemon else "",
                env=_variables(get_container(daemon, CALICO_NODE)) if daemon else (),
                felix_ipv6=ipv6,
                config=text,
                etcd=_etcd(config or {}),
                conflist=parse_conflist(text) if text is not None else None,
                pods=_pods(cluster, home, daemon) if daemon else (),
            )
    if operator or felix:
        return Calico(
            namespace=CALICO_NAMESPACES[0], operator=operator, installed=False, felix_ipv6=ipv6
        )
    return None


def _support(felix: Object) -> bool | None:
    told: bool | None = felix.get("spec", {}).get("ipv6Support")
    return told


def parse_conflist(text: str) -> ConflistSettings:
    """A conflist, or Calico's template of one, whose __PLACES__ are filled in on the node."""
    try:
        told = json.loads(_PLACE.sub("0", text))
        plugins = [one for one in told["plugins"] if isinstance(one, dict)]
    except (ValueError, KeyError, TypeError) as broken:
        return ConflistSettings(broken=f"{type(broken).__name__}: {broken}")
    ipam: Object = next((one["ipam"] for one in plugins if isinstance(one.get("ipam"), dict)), {})
    tuned = [one.get("sysctl") or {} for one in plugins if one.get("type") == "tuning"]
    return ConflistSettings(
        plugins=tuple(str(one.get("type", "")) for one in plugins),
        assign_ipv4=str(ipam.get("assign_ipv4", True)).lower() == "true",
        assign_ipv6=str(ipam.get("assign_ipv6", False)).lower() == "true",
        tunes_ipv6_off=any(
            key.endswith(".disable_ipv6") and str(value) == "1"
            for sysctl in tuned
            for key, value in sysctl.items()
        ),
    )


def _etcd(config: Object) -> tuple[str, ...]:
    told = (config.get("data") or {}).get("etcd_endpoints", "")
    # the manifest of the other datastore has a placeholder there
    return tuple(one.strip() for one in told.split(",") if "://" in one and "<" not in one)


def _variables(of: Object) -> tuple[str, ...]:
    pairs = ((one["name"], one.get("value", "")) for one in of.get("env", ()))
    return tuple(f"{name}={value}" for name, value in pairs if name in _VARIABLES)


def _pods(cluster: Cluster, home: str, daemon: Object) -> tuple[CalicoNodePod, ...]:
    return tuple(
        CalicoNodePod(
            name=pod["metadata"]["name"],
            node=pod["spec"].get("nodeName", ""),
            ready=is_ready(pod),
            trouble=", ".join(get_waiting_reasons(pod).values()),
        )
        for pod in list_pods(cluster, daemon, home)
    )


def _or_none(read: Callable[[], T]) -> T | None:
    """None where the API does not know such resources."""
    try:
        return read()
    except ApiError as refusal:
        if refusal.status == 404:
            return None
        raise
