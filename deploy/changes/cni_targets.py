"""Nodes and their CNI configurations as targets, for the fixes that reach that far. Pure."""

from __future__ import annotations

from collections.abc import Callable

from deploy.changes.fix import Refusal
from deploy.changes.model import CannotEdit, ConfigMapKey, NodeFile, Target
from deploy.evidence.hosts import ConflistFile, HostView
from deploy.evidence.model import Evidence
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen
from deploy.formats.conflist import ConflistError, read_plugin_types

CONFIG_MAP, CONFIG_KEY = "calico-config", "cni_network_config"


def read_ready_nodes(evidence: Evidence) -> dict[str, HostView] | Refusal:
    """Every Ready node by its agent; a Refusal where one of them could not be seen."""
    if isinstance(evidence.hosts, Unseen):
        return Refusal(reason=f"the nodes could not be looked at: {evidence.hosts.reason}")
    ready = {node.name for node in list_nodes(evidence) if node.ready}
    found = {one.node: one.view for one in evidence.hosts if one.node in ready}
    unseen = {node: view for node, view in found.items() if isinstance(view, Unseen)}
    if unseen:
        return Refusal(
            reason="not every Ready node could be looked at",
            objects=tuple(f"node {node}: {view.reason}" for node, view in unseen.items()),
            next_step="see to these nodes, then run this again",
        )
    return {node: view for node, view in found.items() if not isinstance(view, Unseen)}


def list_nodes(evidence: Evidence) -> tuple[NodeState, ...]:
    """All nodes, or none where they could not be seen."""
    return () if isinstance(evidence.nodes, Unseen) else evidence.nodes


def describe_missing_nodes(evidence: Evidence) -> str:
    """What to add to a reason where nodes are left out because they are not Ready."""
    away = [node.name for node in list_nodes(evidence) if not node.ready]
    if not away:
        return ""
    return f" (not on {', '.join(away)}, not Ready: run this again when it is back)"


def refuse_operator(evidence: Evidence) -> Refusal | None:
    """Where an operator owns Calico, the Refusal that points to its object."""
    calico = evidence.calico
    if isinstance(calico, Unseen):
        return Refusal(reason=f"whether Calico is here could not be seen: {calico.reason}")
    if calico is None or not calico.operator:
        return None
    return Refusal(
        reason="the Tigera operator owns Calico here, and puts back what is changed beside it",
        objects=("Installation default (operator.tigera.io/v1)",),
        next_step="kubectl edit installation default: spec.calicoNetwork.ipPools holds the pools, "
        "spec.calicoNetwork.sysctl what the CNI sets in pods",
    )


def find_conflists(evidence: Evidence, seen: dict[str, HostView]) -> tuple[Target, ...] | Refusal:
    """The template that calico-node writes from, then each node's own file, which works at once."""
    above = find_template(evidence)
    found: list[Target] = [above] if above else []
    broken = []
    for node, view in seen.items():
        used = find_active_conflist(view)
        if used is None:
            broken.append(f"node {node}: no CNI configuration in {view.net_d}")
            continue
        try:
            if not used.path.endswith(".conflist"):
                raise ConflistError("it is a single plugin, no list (.conflist)")
            read_plugin_types(used.text)
        except ConflistError as reason:
            broken.append(f"node {node}: {used.path}: {reason}")
        found.append(NodeFile(node=node, path=used.path))
    if broken:
        return Refusal(
            reason="a node's CNI configuration cannot be edited safely",
            objects=tuple(broken),
            next_step="mend the file (calico-node writes its own again when it starts), then run "
            "this again",
        )
    return tuple(found)


def find_template(evidence: Evidence) -> ConfigMapKey | None:
    """What calico-node writes a node's file from, where Calico came by manifest."""
    calico = evidence.calico
    if isinstance(calico, Unseen) or calico is None or calico.config is None:
        return None
    return ConfigMapKey(namespace=calico.namespace, name=CONFIG_MAP, key=CONFIG_KEY)


def find_active_conflist(view: HostView) -> ConflistFile | None:
    """The configuration that the runtime takes: the first by its name."""
    return min(view.conflists, key=lambda one: one.path, default=None)


def edit_conflist(content: bytes | None, change: Callable[[str], str]) -> bytes:
    """The text of a conflist, changed. Raises CannotEdit."""
    if content is None:
        raise CannotEdit("it is not there any more")
    try:
        return change(content.decode()).encode()
    except (ConflistError, UnicodeDecodeError) as reason:
        raise CannotEdit(str(reason)) from reason
