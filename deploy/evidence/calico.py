"""Calico as the API shows it: address pools, calico-node, and the conflist template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.calico import CALICO_NAMESPACES, CALICO_NODE, list_calico_objects
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_container, get_name, list_pods
from deploy.evidence.pods import PodState, get_variable, read_pod_state
from deploy.evidence.unseen import MaybeSeen, Unseen
from mirror.core.codec import json_key


@dataclass(frozen=True, slots=True, kw_only=True)
class IpPool:
    """A Calico IPPool. ``kind`` is the key of API_RESOURCES it was read by."""

    name: str
    cidr: str
    disabled: bool = False
    nat_outgoing: bool = False
    mode: str = "none"  # ipip, vxlan or none
    node_selector: str = ""
    # Workload, Tunnel; empty: both
    allowed_uses: tuple[str, ...] = field(default=(), metadata=json_key("uses"))
    pods: tuple[str, ...] = ()  # NAMESPACE/NAME of the pods with an address from the pool
    kind: str = "IPPool"
    named_by: tuple[str, ...] = ()  # namespaces and pods whose annotations ask for it by name

    @property
    def family(self) -> int:
        """The IP version: 4 or 6."""
        return 6 if ":" in self.cidr else 4

    @property
    def resource(self) -> str:
        """The resource name for kubectl."""
        return API_RESOURCES[self.kind].qualified_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistSettings:
    """The settings of a CNI configuration. ``broken`` says why it is not valid JSON."""

    plugins: tuple[str, ...] = ()  # types, in their order
    assign_ipv4: bool = True  # calico-ipam's own default
    assign_ipv6: bool = False
    tunes_ipv6_off: bool = False  # a chained `tuning` plugin sets disable_ipv6
    broken: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calico:
    """Calico's installation and configuration.

    ``config`` is the conflist template in ConfigMap calico-config, None if there is none;
    ``conflist`` its settings. ``env`` are the variables of calico-node that affect IPv6, as
    NAME=value. ``etcd`` are the endpoints of Calico's own datastore; empty: the Kubernetes API.
    """

    namespace: str
    operator: bool  # an Installation of the Tigera operator owns it
    installed: bool  # the DaemonSet calico-node exists
    image: str = ""
    env: tuple[str, ...] = ()
    felix_ipv6: bool | None = None  # ipv6Support of the default FelixConfiguration
    config: str | None = None
    etcd: tuple[str, ...] = ()
    conflist: ConflistSettings | None = None
    pods: tuple[PodState, ...] = ()  # of calico-node

    def get_env(self, name: str) -> str | None:
        """Return a variable of calico-node; None if it is not set."""
        return get_variable(self.env, name)


_POOLS_ANNOTATION = "cni.projectcalico.org/ipv6pools"  # a JSON list of names and CIDRs
_PLACEHOLDER = re.compile(r"__\w+?__")
_CONFIG_MAP, _CONFIG_KEY = "calico-config", "cni_network_config"
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
    """Return all pools that are not being deleted, by name; none if there is no Calico."""
    listing = list_calico_objects(cluster, "IPPool")
    if listing is None:
        if read_calico(cluster) is None:
            return ()
        return Unseen(reason="they are in no API of this cluster: calicoctl get ippools -o yaml")
    kind, objects = listing
    objects = [pool for pool in objects if not pool["metadata"].get("deletionTimestamp")]
    pods = cluster.list("Pod") if objects else []
    namespaces: list[Object] = []
    with suppress(ApiError):  # the right to list them is rarer
        namespaces = cluster.list("Namespace") if objects else []
    pools = [_read_pool(kind, pool, pods, namespaces) for pool in objects]
    return tuple(sorted(pools, key=lambda pool: pool.name))


def read_calico(cluster: Cluster) -> Calico | None:
    """Return Calico's state; None if the cluster does not have Calico."""
    _, felix = list_calico_objects(cluster, "FelixConfiguration") or ("", [])
    ipv6_support = {get_name(obj): obj.get("spec", {}).get("ipv6Support") for obj in felix}
    calico = Calico(
        namespace=CALICO_NAMESPACES[0],
        operator=_has_operator(cluster),
        installed=False,
        felix_ipv6=ipv6_support.get("default"),
    )
    for namespace in CALICO_NAMESPACES:
        daemon_set = cluster.get("DaemonSet", CALICO_NODE, namespace)
        config_map = cluster.get("ConfigMap", _CONFIG_MAP, namespace)
        if not daemon_set and not config_map:
            continue
        container = get_container(daemon_set, CALICO_NODE) if daemon_set else {}
        pods = list_pods(cluster, daemon_set, namespace) if daemon_set else []
        config = (config_map or {}).get("data") or {}
        template = config.get(_CONFIG_KEY)
        return replace(
            calico,
            namespace=namespace,
            installed=daemon_set is not None,
            image=container.get("image", ""),
            env=tuple(
                f"{variable['name']}={variable.get('value', '')}"
                for variable in container.get("env", ())
                if variable["name"] in _VARIABLES
            ),
            config=template,
            etcd=_split_etcd_endpoints(config.get("etcd_endpoints", "")),
            conflist=parse_conflist(template) if template is not None else None,
            pods=tuple(read_pod_state(pod) for pod in pods),
        )
    return calico if calico.operator or felix else None


def parse_conflist(text: str) -> ConflistSettings:
    """Return the settings of a conflist, or of Calico's template of one with __PLACEHOLDERS__."""
    try:
        document = json.loads(_PLACEHOLDER.sub("0", text))
        plugins = [plugin for plugin in document["plugins"] if isinstance(plugin, dict)]
    except (ValueError, KeyError, TypeError) as error:
        return ConflistSettings(broken=f"{type(error).__name__}: {error}")
    ipams = (plugin["ipam"] for plugin in plugins if isinstance(plugin.get("ipam"), dict))
    ipam: Object = next(ipams, {})
    sysctls = [plugin.get("sysctl") or {} for plugin in plugins if plugin.get("type") == "tuning"]
    return ConflistSettings(
        plugins=tuple(str(plugin.get("type", "")) for plugin in plugins),
        assign_ipv4=str(ipam.get("assign_ipv4", True)).lower() == "true",
        assign_ipv6=str(ipam.get("assign_ipv6", False)).lower() == "true",
        tunes_ipv6_off=any(
            key.endswith(".disable_ipv6") and str(value) == "1"
            for sysctl in sysctls
            for key, value in sysctl.items()
        ),
    )


def _read_pool(kind: str, obj: Object, pods: list[Object], namespaces: list[Object]) -> IpPool:
    spec = obj.get("spec", {})
    modes = {"ipip": spec.get("ipipMode", "Never"), "vxlan": spec.get("vxlanMode", "Never")}
    return IpPool(
        kind=kind,
        name=get_name(obj),
        cidr=spec.get("cidr", ""),
        disabled=bool(spec.get("disabled")),
        nat_outgoing=bool(spec.get("natOutgoing")),
        mode=next((name for name, mode in modes.items() if mode != "Never"), "none"),
        node_selector=spec.get("nodeSelector", ""),
        allowed_uses=tuple(spec.get("allowedUses", ())),
        pods=tuple(_find_pods_in(spec.get("cidr", ""), pods)),
        named_by=(
            *(f"namespace {get_name(each)}" for each in namespaces if _names_pool(each, obj)),
            *(
                f"pod {pod['metadata']['namespace']}/{get_name(pod)}"
                for pod in pods
                if _names_pool(pod, obj)
            ),
        ),
    )


def _names_pool(obj: Object, pool: Object) -> bool:
    """Whether the annotations of a namespace or pod ask Calico for a pool by its name."""
    annotations = obj["metadata"].get("annotations") or {}
    try:
        names = json.loads(annotations.get(_POOLS_ANNOTATION, "[]"))
    except ValueError:
        return False
    return isinstance(names, list) and get_name(pool) in names


def _find_pods_in(cidr: str, pods: list[Object]) -> Iterator[str]:
    """Yield the live pods on the pod network that have an address in the CIDR."""
    try:
        network = ip_network(cidr, strict=False)
    except ValueError:
        return
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"} or pod["spec"].get("hostNetwork"):
            continue
        addresses = [ip_address(ip["ip"]) for ip in status.get("podIPs", ()) if ip.get("ip")]
        if any(address in network for address in addresses):
            yield f"{pod['metadata']['namespace']}/{get_name(pod)}"


def _split_etcd_endpoints(endpoints: str) -> tuple[str, ...]:
    # the manifest for the other datastore contains a placeholder in angle brackets
    return tuple(
        endpoint.strip()
        for endpoint in endpoints.split(",")
        if "://" in endpoint and "<" not in endpoint
    )


def _has_operator(cluster: Cluster) -> bool:
    try:
        return bool(cluster.list("Installation"))
    except ApiError as error:
        if error.status == 404:  # the API does not know such resources
            return False
        raise
