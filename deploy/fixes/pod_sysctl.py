"""`mirror fix pod-sysctl`: IPv6 off in new pods by the CNI's own tuning plugin; `::1` stays.

Kubernetes refuses the sysctl in a pod's securityContext, and the hosts' sysctls do not reach pods:
each pod has its own network namespace, which only the CNI sets up.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.changes.cni_targets import (
    edit_conflist,
    find_active_conflist,
    is_conflist_target,
    plan_conflists,
    read_ready_nodes,
    refuse_k3s,
    refuse_operator,
)
from deploy.changes.fix import Fix, FixOptions, Refusal
from deploy.changes.model import Change, Edit, Target
from deploy.evidence.hosts import HostView
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.formats.conflist import (
    ConflistError,
    disable_ipv6,
    disables_ipv6,
    disables_loopback,
)
from deploy.formats.go_regex import matches
from mirror.agent.allowlist import TUNING_PLUGINS

NAME = "pod-sysctl"
_SYSCTLS = tuple(key for plugin in TUNING_PLUGINS for key in plugin["sysctl"])


def plan_changes(
    evidence: Evidence,
    options: FixOptions,  # noqa: ARG001 - it has none
    applied: tuple[Change, ...],
) -> tuple[Change, ...] | Refusal:
    """Return a change to Calico's template, then one to each node's file."""
    refusal = refuse_operator(evidence)
    if refusal:
        return refusal
    views = read_ready_nodes(evidence)
    if isinstance(views, Refusal):
        return views
    refusal = refuse_k3s(evidence, views) or (None if applied else _find_done(evidence, views))
    if refusal:
        return refusal
    unfit = [line for node, view in views.items() for line in _find_obstacles(node, view)]
    if unfit:
        return Refusal(
            reason="the tuning plugin does not work on every node: new pods there would not start",
            objects=tuple(unfit),
            next_step="install the CNI's standard plugins there, add the keys to allowlist.conf, "
            "then run this again",
        )
    if not views:
        return Refusal(reason="no node is Ready")
    why = "new pods get disable_ipv6 = 1 and keep ::1; running pods stay as they are"
    return plan_conflists(evidence, views, Edit(fix=NAME), why)


def _find_done(evidence: Evidence, views: Mapping[str, HostView]) -> Refusal | None:
    """Return a needless Refusal if every node's own configuration turns IPv6 off already."""
    calico = evidence.calico
    if not isinstance(calico, Unseen) and calico and calico.config:
        return None  # Calico's template has to have it too
    done = []
    for node, view in views.items():
        conflist = find_active_conflist(view)
        try:
            if conflist is None or not disables_ipv6(conflist.text):
                return None
            note = ", and ::1 with it" if disables_loopback(conflist.text) else ""
        except ConflistError:
            return None
        done.append(f"node {node}: {conflist.path} turns IPv6 off in new pods{note}")
    if not done:
        return None
    return Refusal(
        reason="the nodes' own CNI configuration turns IPv6 off in new pods already",
        objects=tuple(done),
        needless=True,
    )


def _find_obstacles(node: str, view: HostView) -> list[str]:
    if "tuning" not in view.plugins:
        return [f"node {node}: no plugin `tuning`"]
    if view.get_disable_ipv6("all") is None:
        return [f"node {node}: its kernel has no IPv6, so there is nothing to turn off"]
    if view.allowlist is None:
        return []
    patterns = [line.strip() for line in view.allowlist.splitlines() if line.strip()]
    refused = [key for key in _SYSCTLS if not any(matches(pattern, key) for pattern in patterns)]
    if not refused:
        return []
    return [f"node {node}: /etc/cni/tuning/allowlist.conf does not allow {', '.join(refused)}"]


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:  # noqa: ARG001
    """Return the conflist with tuning after its first plugin, unless IPv6 is off already."""
    return edit_conflist(content, disable_ipv6)


FIX = Fix(
    name=NAME,
    order=30,
    summary="new pods have no IPv6 but ::1",
    impact="the CNI configuration of every node: all pods that start from now on, in every "
    "namespace; running pods keep what they have until they are recreated",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO}),
    plan_changes=plan_changes,
    edit=edit,
    may_target=is_conflist_target,
    resolved_checks=("hosts.start", "hosts.pods", "hosts.covered"),
    rollback_on_failure=True,
)
