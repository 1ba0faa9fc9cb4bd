"""`mirror fix ippool`: no addresses from Calico's IPv6 pools.

First the CNI stops requesting IPv6 addresses, then the pool is disabled or deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

from deploy.changes.cni_targets import (
    edit_conflist,
    find_active_conflist,
    is_calico_node,
    is_conflist_target,
    is_pool,
    plan_conflists,
    read_ready_nodes,
    refuse_operator,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import (
    CannotEdit,
    Change,
    ConfigMapKey,
    Edit,
    NodeFile,
    ObjectSpec,
    Target,
)
from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.hosts import HostView
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.formats.conflist import (
    ConflistError,
    assigns_ipv6,
    read_ipv6_pools,
    stop_assigning_ipv6,
)
from mirror.merge import encode_spec

NAME = "ippool"
_ENVIRONMENT = {"NO_DEFAULT_POOLS": "true", "IP6": "none"}
# calico-node does not start with one of these beside NO_DEFAULT_POOLS
_CONFLICTING = ("CALICO_IPV4POOL_CIDR", "CALICO_IPV6POOL_CIDR")


def plan_changes(
    evidence: Evidence, options: FixOptions, applied: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """Return changes to everything that requests addresses, on all nodes; then to the pools."""
    refusal = refuse_operator(evidence)
    if refusal:
        return refusal
    calico, pools = evidence.calico, evidence.ip_pools
    if isinstance(calico, Unseen) or calico is None:
        return Refusal(reason="Calico is not installed", needless=True)
    if calico.etcd:
        return Refusal(
            reason="Calico keeps its pools in its own etcd, not in the Kubernetes API",
            objects=calico.etcd,
            next_step="calicoctl get ippools -o yaml; set `disabled: true` there and apply it, "
            "once `mirror fix pod-sysctl` is applied and assign_ipv6 is false in calico-config",
        )
    if isinstance(pools, Unseen):
        return Refusal(reason=f"Calico's pools could not be read: {pools.reason}")
    recorded = _recorded_pools(applied)
    # during an interrupted rollback the ledger may have lost the pool but not the other changes
    is_incomplete = bool(applied) and not recorded
    selected = [
        pool
        for pool in pools
        if pool.family == 6 and (not pool.disabled or pool.name in recorded or is_incomplete)
    ]
    used = [f"{pod} has {pool.name}'s address" for pool in selected for pod in pool.pods]
    if options.get("delete") and used and not options.get("force-pool"):
        return Refusal(
            reason=f"{len(used)} running pods use addresses of the pool",
            objects=tuple(used),
            next_step="restart these pods after `mirror fix ippool` (it disables the pool, which "
            "harms none of them), or delete it anyway with --force-pool: new pods stop "
            "requesting addresses first, and these pods keep theirs until they end",
        )
    views = read_ready_nodes(evidence)
    if isinstance(views, Refusal):
        return views
    if options.get("delete") and (names := _find_named(selected, calico, views)):
        return Refusal(
            reason="a pool is asked for by its name: without it, the pods there do not start, "
            "whether they get IPv6 addresses or not",
            objects=names,
            next_step="leave out --delete (a disabled pool harms none of them), or remove the pool "
            "from these annotations and configurations first",
        )
    # if a pool was deleted by hand, the CNI still requests its addresses and no pod starts
    if not selected and not applied and not _requests_ipv6(calico, views):
        return Refusal(reason="no IPv6 pool is enabled, and no pod requests one", needless=True)
    why = "assign_ipv6 false: no pod requests IPv6"
    conflists = plan_conflists(evidence, views, _edit(delete=False), why)
    if isinstance(conflists, Refusal):
        return conflists
    delete = bool(options.get("delete")) or any(c.edit.options.get("delete") for c in applied)
    changes = [*conflists]
    if delete and calico.installed:
        target = ObjectSpec(kind="DaemonSet", namespace=calico.namespace, name="calico-node")
        why = "NO_DEFAULT_POOLS, IP6=none: it does not create the pool again; it restarts"
        changes.append(Change(target=target, edit=_edit(delete=False), why=why))
    effect = (
        "is deleted; its stored copy serves to create it again"
        if delete
        else "gives no more addresses; calico-node does not create it again"
    )
    effect += f"; {len(used)} running pods keep their addresses" if used else ""
    for pool in selected:
        # a change through one of Calico's APIs is continued through the same one
        target = recorded.get(pool.name, ObjectSpec(kind=pool.kind, name=pool.name))
        why = f"the pool {pool.cidr} {effect}"
        change = Change(target=target, edit=_edit(delete=delete), why=why, needs_proof_first=True)
        changes.append(change)
    return tuple(changes)


def _recorded_pools(applied: tuple[Change, ...]) -> dict[str, ObjectSpec]:
    specs = [change.target for change in applied if isinstance(change.target, ObjectSpec)]
    return {spec.name: spec for spec in specs if spec.kind != "DaemonSet"}


def _find_named(
    pools: Sequence[IpPool], calico: Calico, views: Mapping[str, HostView]
) -> tuple[str, ...]:
    """Return who asks for one of the pools by its name: calico-ipam looks it up in any case."""
    conflists = {node: find_active_conflist(view) for node, view in views.items()}
    texts = {f"{node}:{file.path}": file.text for node, file in conflists.items() if file}
    if calico.config:
        texts["ConfigMap calico-config"] = calico.config
    found: list[str] = []
    for pool in pools:
        askers = [*pool.named_by]
        for title, text in texts.items():
            with suppress(ConflistError):
                askers += [title] if pool.name in read_ipv6_pools(text) else []
        found += [f"{asker} asks for {pool.name}" for asker in askers]
    return tuple(found)


def _requests_ipv6(calico: Calico, views: Mapping[str, HostView]) -> bool:
    """Return whether new pods get IPv6 addresses on some node, or on the next that joins."""
    conflists = [find_active_conflist(view) for view in views.values()]
    texts = [calico.config, *(conflist.text for conflist in conflists if conflist)]
    return any(_assigns_ipv6(text) for text in texts if text)


def _assigns_ipv6(text: str) -> bool:
    try:
        return assigns_ipv6(text)
    except ConflistError:
        return True  # assume that it does: editing the file then reports the error


def _edit(*, delete: bool) -> Edit:
    return Edit(fix=NAME, options={"delete": delete})


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """Return the new content of a conflist, of calico-node's spec or of a pool's."""
    match target:
        case ConfigMapKey() | NodeFile():
            return edit_conflist(content, stop_assigning_ipv6)
        case ObjectSpec(kind="DaemonSet"):
            return None if content is None else encode_spec(_edit_calico_node(json.loads(content)))
        case ObjectSpec():  # a pool
            if content is None or edit.options["delete"]:
                return None
            return encode_spec({**json.loads(content), "disabled": True})
    raise CannotEdit(f"{target} is not a target of this fix")


def _edit_calico_node(spec: Any) -> Any:
    for container in spec["template"]["spec"]["containers"]:
        if container["name"] != "calico-node":
            continue
        dropped = {*_ENVIRONMENT, *_CONFLICTING}
        kept = [var for var in container.get("env", ()) if var["name"] not in dropped]
        added = [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()]
        container["env"] = [*kept, *added]
    return spec


def may_target(target: Target) -> bool:
    """Return whether the fix ever changes this: a conflist, calico-node, or one of its pools."""
    return is_conflist_target(target) or is_calico_node(target) or is_pool(target)


def may_restore(target: Target, content: bytes | None) -> bool:
    """Return whether the fix may have found this: a pool that it changes is one of IPv6."""
    if content is None or not is_pool(target):
        return content is not None
    try:
        return ip_network(json.loads(content)["cidr"], strict=False).version == 6
    except (KeyError, TypeError, ValueError):
        return False


FIX = Fix(
    name=NAME,
    order=50,
    summary="Calico gives pods no IPv6 addresses",
    impact="the CNI configuration of every node and Calico's IPv6 pools: all pods that start from "
    "now on; running pods keep their addresses",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO, Need.IP_POOLS}),
    plan_changes=plan_changes,
    edit=edit,
    may_target=may_target,
    may_restore=may_restore,
    widest_options={"delete": False},
    resolved_checks=("hosts.start", "hosts.covered"),
    options=(
        FixOption(
            name="delete",
            help="Delete the IPv6 pool instead of disabling it; calico-node restarts, so that it "
            "does not create the pool again.",
        ),
        FixOption(name="force-pool", help="With --delete: even if running pods use its addresses."),
    ),
    rollback_on_failure=True,
)
