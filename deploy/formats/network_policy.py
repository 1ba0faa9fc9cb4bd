"""Which egress NetworkPolicies allow (networking.k8s.io/v1). Pure.

Only this API is read: a network plugin may have policies of its own kinds as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPeer:
    """The pod that a connection goes to: labels, and the addresses under which it is reached."""

    namespace: str
    namespace_labels: Labels
    pod_labels: Labels
    addresses: tuple[str, ...]
    port: int  # of the pod, over TCP
    port_name: str = ""


def list_denying(
    policies: Sequence[Mapping[str, Any]], pod_labels: Labels, peer: EgressPeer
) -> tuple[str, ...]:
    """Return the names of the policies that isolate a pod from a peer; empty if it may connect.

    ``policies`` are those of the pod's namespace. As soon as one policy isolates a pod's egress,
    only what some policy allows is allowed.
    """
    isolating = [policy for policy in policies if _isolates(policy, pod_labels)]
    if any(_allows(policy, peer) for policy in isolating):
        return ()
    return tuple(policy["metadata"]["name"] for policy in isolating)


def _isolates(policy: Mapping[str, Any], pod_labels: Labels) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Egress"] if spec.get("egress") else [])
    return "Egress" in types and matches_selector(spec.get("podSelector") or {}, pod_labels)


def _allows(policy: Mapping[str, Any], peer: EgressPeer) -> bool:
    rules = policy["spec"].get("egress") or ()
    own = policy["metadata"].get("namespace", "")
    return any(_has_port(rule, peer) and _has_peer(rule, peer, own) for rule in rules)


def _has_port(rule: Mapping[str, Any], peer: EgressPeer) -> bool:
    ports = rule.get("ports") or ()
    return not ports or any(_is_port(port, peer) for port in ports)


def _is_port(port: Mapping[str, Any], peer: EgressPeer) -> bool:
    if port.get("protocol", "TCP") != "TCP":
        return False
    first = port.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return first == peer.port_name
    return bool(first <= peer.port <= port.get("endPort", first))


def _has_peer(rule: Mapping[str, Any], peer: EgressPeer, own: str) -> bool:
    peers = rule.get("to") or ()
    return not peers or any(_is_peer(each, peer, own) for each in peers)


def _is_peer(each: Mapping[str, Any], peer: EgressPeer, own: str) -> bool:
    if block := each.get("ipBlock"):
        excepted = [ip_network(cidr, strict=False) for cidr in block.get("except") or ()]
        network = ip_network(block["cidr"], strict=False)
        addresses = [ip_address(address) for address in peer.addresses]
        return any(
            address in network and not any(address in cidr for cidr in excepted)
            for address in addresses
        )
    namespaces = each.get("namespaceSelector")
    if namespaces is None:
        in_namespace = own == peer.namespace
    else:
        in_namespace = matches_selector(namespaces, peer.namespace_labels)
    return in_namespace and matches_selector(each.get("podSelector") or {}, peer.pod_labels)


def matches_selector(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Return whether labels match a label selector; the empty one matches everything."""
    wanted: Labels = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _matches_expression(expression, labels)
        for expression in selector.get("matchExpressions") or ()
    )


def _matches_expression(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
