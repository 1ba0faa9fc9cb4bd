"""IPv6 off in new pods, by the CNI's own tuning plugin; `::1` stays.

Kubernetes refuses the setting in a pod's securityContext, and the hosts' settings do not reach
pods: each has a network of its own, which only the CNI makes.
"""

from __future__ import annotations

import re

from deploy.changes.cni_targets import (
    describe_missing_nodes,
    edit_conflist,
    find_conflists,
    find_template,
    read_ready_nodes,
    refuse_operator,
)
from deploy.changes.fix import Fix, FixOptions, Refusal
from deploy.changes.model import Change, Edit, Target
from deploy.evidence.hosts import HostView
from deploy.evidence.model import Evidence, Need
from deploy.formats.conflist import TUNING_PLUGINS, disable_ipv6

NAME = "pod-sysctl"
_KEYS = tuple(key for one in TUNING_PLUGINS for key in one["sysctl"])


def plan_changes(
    evidence: Evidence,
    options: FixOptions,  # noqa: ARG001 - it has none
    held: tuple[Change, ...],  # noqa: ARG001 - the same nodes, and those that joined since
) -> tuple[Change, ...] | Refusal:
    """The template of Calico by manifest, then each node's file."""
    refused = refuse_operator(evidence)
    if refused:
        return refused
    seen = read_ready_nodes(evidence)
    if isinstance(seen, Refusal):
        return seen
    unfit = [line for node, view in seen.items() for line in _unfit(node, view)]
    if unfit:
        return Refusal(
            reason="the tuning plugin cannot do it on every node: new pods there would not start",
            objects=tuple(unfit),
            next_step="install the CNI's standard plugins there, add the keys to allowlist.conf, "
            "then run this again",
        )
    targets = find_conflists(evidence, seen)
    if isinstance(targets, Refusal):
        return targets
    if not seen:
        return Refusal(reason="no node is Ready")
    why = "new pods get disable_ipv6 = 1 and keep ::1; running ones stay as they are"
    above = find_template(evidence)
    return tuple(
        Change(
            target=target,
            edit=Edit(fix=NAME),
            why=why + describe_missing_nodes(evidence),
            template=None if target == above else above,
        )
        for target in targets
    )


def _unfit(node: str, view: HostView) -> list[str]:
    if "tuning" not in view.plugins:
        return [f"node {node}: no plugin `tuning`"]
    if view.get_disable_ipv6("all") is None:
        return [f"node {node}: its kernel has no IPv6: nothing is to be turned off there"]
    if view.allowlist is None:
        return []
    patterns = [line.strip() for line in view.allowlist.splitlines() if line.strip()]
    refused = [key for key in _KEYS if not any(_matches(one, key) for one in patterns)]
    if not refused:
        return []
    return [f"node {node}: /etc/cni/tuning/allowlist.conf does not allow {', '.join(refused)}"]


def _matches(pattern: str, key: str) -> bool:
    try:
        return re.search(pattern, key) is not None
    except re.error:
        return False


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:  # noqa: ARG001
    """tuning behind the first plugin, unless the conflist turns IPv6 off already."""
    return edit_conflist(content, disable_ipv6)


FIX = Fix(
    name=NAME,
    order=30,
    summary="new pods have no IPv6 but ::1",
    impact="the CNI configuration of every node: all pods that start from now on, in every "
    "namespace; running pods keep what they have until they are made again",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO}),
    plan_changes=plan_changes,
    edit=edit,
    resolved_checks=("hosts.start", "hosts.pods", "hosts.covered"),
    rollback_on_failure=True,
)
