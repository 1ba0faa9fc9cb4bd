"""Nodes and their CNI configurations as targets of fixes. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress

from deploy.changes.fix import Refusal
from deploy.changes.model import (
    CannotEdit,
    Change,
    ConfigMapKey,
    Edit,
    NodeFile,
    ObjectSpec,
    Target,
)
from deploy.cluster.api_resources import kind_name
from deploy.cluster.calico import CALICO_NODE
from deploy.evidence.hosts import ConflistFile, HostView
from deploy.evidence.model import Evidence
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen
from deploy.formats.conflist import ConflistError, read_plugin_types
from mirror.agent.allowlist import is_conflist

_K3S_FOLDER = "/var/lib/rancher/k3s/agent/etc/cni/net.d"
_MULTUS_INLINE = (
    "Multus has its delegate in its own file or it is not there: edit that network's configuration"
)
CONFIG_MAP = "calico-config"
CONFIG_KEY = "cni_network_config"


def read_ready_nodes(evidence: Evidence) -> dict[str, HostView] | Refusal:
    """Return every Ready node as its agent saw it, or a Refusal if one could not be seen."""
    if isinstance(evidence.hosts, Unseen):
        return Refusal(reason=f"the nodes could not be inspected: {evidence.hosts.reason}")
    ready = {node.name for node in list_nodes(evidence) if node.ready}
    views = {host.node: host.view for host in evidence.hosts if host.node in ready}
    unseen = {node: view for node, view in views.items() if isinstance(view, Unseen)}
    if unseen:
        return Refusal(
            reason="not every Ready node could be inspected",
            objects=tuple(f"node {node}: {view.reason}" for node, view in unseen.items()),
            next_step="repair these nodes, then run this again",
        )
    return {node: view for node, view in views.items() if not isinstance(view, Unseen)}


def list_nodes(evidence: Evidence) -> tuple[NodeState, ...]:
    """Return all nodes; none if they could not be listed."""
    return () if isinstance(evidence.nodes, Unseen) else evidence.nodes


def describe_missing_nodes(evidence: Evidence) -> str:
    """Return a clause that names the nodes that are left out, to add to a reason; empty if none."""
    missing = [node.name for node in list_nodes(evidence) if not node.ready]
    if not missing:
        return ""
    return f" (not on {', '.join(missing)}, not Ready: run this again when it is back)"


def refuse_operator(evidence: Evidence) -> Refusal | None:
    """Return a Refusal that points to the operator's own object if an operator owns Calico."""
    calico = evidence.calico
    if isinstance(calico, Unseen):
        return Refusal(reason=f"whether Calico is installed could not be seen: {calico.reason}")
    if calico is None or not calico.operator:
        return None
    return Refusal(
        reason="the Tigera operator owns Calico here and reverts other changes to it",
        objects=("Installation default (operator.tigera.io/v1)",),
        next_step="kubectl edit installation default: spec.calicoNetwork.ipPools has the pools, "
        "spec.calicoNetwork.sysctl what the CNI sets in pods",
    )


def plan_conflists(
    evidence: Evidence, views: Mapping[str, HostView], edit: Edit, why: str
) -> tuple[Change, ...] | Refusal:
    """Return a change to Calico's template, then one to the file of each node.

    calico-node writes the files from the template; changing a file works at once. Returns a
    Refusal if a file cannot be edited.
    """
    template = _find_template(evidence)
    why += describe_missing_nodes(evidence)
    changes = [Change(target=template, edit=edit, why=why)] if template else []
    unusable = []
    for node, view in views.items():
        conflist = find_active_conflist(view)
        if conflist is None:
            reasons = [line for line in view.rejected if view.net_d in line]
            no_file = [f"no CNI configuration in {view.net_d}"]
            unusable.append(f"node {node}: {'; '.join(reasons or no_file)}")
            continue
        if is_multus(conflist):
            unusable.append(f"node {node}: {conflist.path}: {_MULTUS_INLINE}")
            continue
        try:
            if not conflist.path.endswith(".conflist"):
                raise ConflistError("it is a single plugin, not a list (.conflist)")
            read_plugin_types(conflist.text)
        except ConflistError as error:
            unusable.append(f"node {node}: {conflist.path}: {error}")
        target = NodeFile(node=node, path=conflist.path)
        changes.append(Change(target=target, edit=edit, why=why, template=template))
    if unusable:
        return Refusal(
            reason="the CNI configuration of a node cannot be edited safely",
            objects=tuple(unusable),
            next_step="repair the file (calico-node writes its own again when it starts), then "
            "run this again",
        )
    return tuple(changes)


def _find_template(evidence: Evidence) -> ConfigMapKey | None:
    """Return the template that calico-node writes files from, if Calico came by manifest."""
    calico = evidence.calico
    if isinstance(calico, Unseen) or calico is None or calico.config is None:
        return None
    return ConfigMapKey(namespace=calico.namespace, name=CONFIG_MAP, key=CONFIG_KEY)


def is_conflist_target(target: Target) -> bool:
    """Return whether the target is Calico's template, or a list of plugins in a CNI folder."""
    if isinstance(target, ConfigMapKey):
        return (target.name, target.key) == (CONFIG_MAP, CONFIG_KEY)
    return isinstance(target, NodeFile) and is_conflist(target.path)


def is_calico_node(target: Target) -> bool:
    """Return whether the target is Calico's own DaemonSet, in any namespace."""
    if not isinstance(target, ObjectSpec):
        return False
    return (target.kind, target.name) == ("DaemonSet", CALICO_NODE)


def is_pool(target: Target) -> bool:
    """Return whether the target is a pool of Calico's, in one of its APIs."""
    return isinstance(target, ObjectSpec) and kind_name(target.kind) == "IPPool"


def find_active_conflist(view: HostView) -> ConflistFile | None:
    """Return the configuration that sets pods up: the first one by name, or Multus's delegate."""
    first = min(view.conflists, key=lambda conflist: conflist.path, default=None)
    if first is None or not is_multus(first):
        return first
    with suppress(ValueError, TypeError):
        network = str(json.loads(first.text).get("clusterNetwork", "")).rpartition("/")[2]
        for conflist in view.conflists:
            if network and conflist.path.rpartition("/")[2] == network:
                return conflist
    return first


def is_multus(conflist: ConflistFile) -> bool:
    """Whether a file is Multus's, which delegates to others."""
    try:
        document = json.loads(conflist.text)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("type") in {"multus", "multus-shim"}


def refuse_k3s(evidence: Evidence, views: Mapping[str, HostView]) -> Refusal | None:
    """Return a Refusal if k3s keeps the configuration of a node where the agent does not look."""
    k3s = {node.name for node in list_nodes(evidence) if node.distribution == "k3s"}
    nodes = sorted(node for node, view in views.items() if node in k3s and not view.conflists)
    if not nodes:
        return None
    return Refusal(
        reason=f"k3s keeps the CNI configuration of {', '.join(nodes)} in {_K3S_FOLDER}, "
        "and writes it anew at each start",
        objects=tuple(f"node {node}: nothing in {views[node].net_d}" for node in nodes),
        next_step="start k3s with --flannel-cni-conf FILE, a copy of its 10-flannel.conflist with "
        "`tuning` after the first plugin (docs/fixes/pod-sysctl.md has it); k3s ships no such "
        "plugin: put it into /var/lib/rancher/k3s/data/current/bin",
    )


def edit_conflist(content: bytes | None, change: Callable[[str], str]) -> bytes:
    """Return the changed text of a conflist. Raises CannotEdit."""
    if content is None:
        raise CannotEdit("the file does not exist any more")
    try:
        return change(content.decode()).encode()
    except (ConflistError, UnicodeDecodeError) as error:
        raise CannotEdit(str(error)) from error
