"""The cluster's own IPv4 ranges: pods, Services, nodes. What a mirror must not reach out to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, ip_network

from deploy.cluster.calico import list_calico_objects
from deploy.cluster.client import ApiError, Cluster, Object

_V4 = re.compile(r"\b(\d{1,3}(?:\.\d{1,3}){3}/\d{1,2})\b")


def find_cluster_cidrs(cluster: Cluster, nodes: list[Object]) -> tuple[str, ...]:
    """IPv4 CIDRs, sorted. A source that we may not read is left out: there are several."""
    found: set[str] = set(_nodes(nodes))
    with suppress(ApiError):
        found |= set(_services(cluster))
    pods = set(_pod_ranges(cluster, nodes))
    if not pods:
        with suppress(ApiError):
            pods = set(_pods_seen(cluster))
    return tuple(sorted(found | pods))


def _nodes(nodes: list[Object]) -> Iterator[str]:
    for node in nodes:
        for address in node.get("status", {}).get("addresses", []):
            if address["type"] == "InternalIP" and ":" not in address["address"]:
                yield f"{address['address']}/32"


def _services(cluster: Cluster) -> Iterator[str]:
    """Asked by a dry run of an impossible Service: the refusal names the ranges (any version)."""
    impossible: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "pypi-mirror-range", "namespace": "default"},
        "spec": {"clusterIP": "0.0.0.1", "ports": [{"port": 1}]},
    }
    try:
        cluster.create(impossible, dry_run=True)
    except ApiError as refusal:
        if refusal.status != 422:
            raise
        yield from _V4.findall(refusal.why)


def _pod_ranges(cluster: Cluster, nodes: list[Object]) -> Iterator[str]:
    for node in nodes:
        for cidr in node.get("spec", {}).get("podCIDRs", []):
            if ip_network(cidr, strict=False).version == 4:
                yield str(ip_network(cidr, strict=False))
    with suppress(ApiError):
        for pool in (list_calico_objects(cluster, "IPPool") or ("", []))[1]:
            cidr = pool.get("spec", {}).get("cidr", "")
            if ":" not in cidr and cidr:
                yield str(IPv4Network(cidr, strict=False))


def _pods_seen(cluster: Cluster) -> Iterator[str]:
    """Where no range is written down: the /16 round each pod's address."""
    for pod in cluster.list("Pod", "kube-system"):
        address = pod.get("status", {}).get("podIP", "")
        if address and ":" not in address and not pod["spec"].get("hostNetwork"):
            yield str(IPv4Network(f"{IPv4Address(address)}/16", strict=False))
