"""Find the cluster's IPv4 ranges of pods, Services and nodes, which the mirror must not reach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, ip_network
from itertools import chain

from deploy.cluster.calico import list_calico_objects
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_internal_ips

_IPV4_CIDR = re.compile(r"\b(\d{1,3}(?:\.\d{1,3}){3}/\d{1,2})\b")


def find_cluster_cidrs(cluster: Cluster, nodes: Sequence[Object]) -> tuple[str, ...]:
    """The cluster's IPv4 CIDRs, sorted. Sources that may not be read are left out."""
    addresses = chain.from_iterable(map(get_internal_ips, nodes))
    cidrs = {f"{address}/32" for address in addresses if ":" not in address}
    with suppress(ApiError):
        cidrs |= set(_find_service_cidrs(cluster))
    with suppress(ApiError):  # they may be on no node
        cidrs |= {f"{address}/32" for address in list_api_addresses(cluster) if ":" not in address}
    pod_cidrs = set(_find_pod_cidrs(cluster, nodes))
    if not pod_cidrs:
        with suppress(ApiError):
            pod_cidrs = set(_guess_pod_cidrs(cluster))
    return tuple(sorted(cidrs | pod_cidrs))


def list_api_addresses(cluster: Cluster) -> tuple[str, ...]:
    """Return the addresses of the API servers behind the Service `kubernetes`."""
    labels = "kubernetes.io/service-name=kubernetes"
    addresses = {
        address
        for endpoint_slice in cluster.list("EndpointSlice", "default", labels=labels)
        for endpoint in endpoint_slice.get("endpoints") or ()
        for address in endpoint["addresses"]
    }
    return tuple(sorted(addresses))


def _find_service_cidrs(cluster: Cluster) -> Iterator[str]:
    """Dry-run an invalid Service: the API server's error names the ranges, in any version."""
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "pypi-mirror-range", "namespace": "default"},
        "spec": {"clusterIP": "0.0.0.1", "ports": [{"port": 1}]},
    }
    try:
        cluster.create(service, dry_run=True)
    except ApiError as error:
        if error.status != 422:
            raise
        yield from _IPV4_CIDR.findall(error.why)


def _find_pod_cidrs(cluster: Cluster, nodes: Sequence[Object]) -> Iterator[str]:
    for node in nodes:
        for cidr in node.get("spec", {}).get("podCIDRs", []):
            if ip_network(cidr, strict=False).version == 4:
                yield str(ip_network(cidr, strict=False))
    with suppress(ApiError):
        _, pools = list_calico_objects(cluster, "IPPool") or ("", [])
        for pool in pools:
            cidr = pool.get("spec", {}).get("cidr", "")
            if ":" not in cidr and cidr:
                yield str(IPv4Network(cidr, strict=False))


def _guess_pod_cidrs(cluster: Cluster) -> Iterator[str]:
    """The /16 around the address of each pod in kube-system, where no range is configured."""
    for pod in cluster.list("Pod", "kube-system"):
        address = pod.get("status", {}).get("podIP", "")
        if address and ":" not in address and not pod["spec"].get("hostNetwork"):
            yield str(IPv4Network(f"{IPv4Address(address)}/16", strict=False))
