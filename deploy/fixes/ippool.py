"""No addresses from Calico's IPv6 pools: the CNI stops asking for them, then the pool is off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deploy.changes.cni_targets import (
    describe_missing_nodes,
    edit_conflist,
    find_active_conflist,
    find_conflists,
    find_template,
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
from deploy.formats.conflist import ConflistError, assigns_ipv6, stop_assigning_ipv6
from mirror.merge import encode_spec

NAME = "ippool"
_ENVIRONMENT = {"NO_DEFAULT_POOLS": "true", "IP6": "none"}
_FATAL = ("CALICO_IPV4POOL_CIDR", "CALICO_IPV6POOL_CIDR")  # beside NO_DEFAULT_POOLS


def plan_changes(
    evidence: Evidence, options: FixOptions, held: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """What asks for addresses first, on every node; then, and only then, the pools."""
    refused = refuse_operator(evidence)
    if refused:
        return refused
    calico, pools = evidence.calico, evidence.ip_pools
    if isinstance(calico, Unseen) or calico is None:
        return Refusal(reason="there is no Calico here", needless=True)
    if calico.etcd:
        return Refusal(
            reason="Calico keeps its pools in an etcd of its own, not in the Kubernetes API",
            objects=calico.etcd,
            next_step="calicoctl get ippools -o yaml; set `disabled: true` there and apply it, "
            "when `mirror fix pod-sysctl` is made and assign_ipv6 is false in calico-config",
        )
    if isinstance(pools, Unseen):
        return Refusal(reason=f"Calico's pools could not be seen: {pools.reason}")
    specs = [one.target for one in held if isinstance(one.target, ObjectSpec)]
    ours = {one.name: one for one in specs if one.kind != "DaemonSet"}
    # in the middle of a rollback the ledger does not say any more whose the pool was
    lost = bool(held) and not ours
    six = [
        one for one in pools if one.family == 6 and (not one.disabled or one.name in ours or lost)
    ]
    delete = bool(options.get("delete")) or _deleted(held)
    used = [f"{pod} has {pool.name}'s address" for pool in six for pod in pool.pods]
    if options.get("delete") and used and not options.get("force-pool"):
        return Refusal(
            reason=f"{len(used)} running pods use addresses of the pool",
            objects=tuple(used),
            next_step="restart these pods after `mirror fix ippool` (it disables the pool, which "
            "harms none of them), or delete it all the same with --force-pool: new pods ask for "
            "none first, and these keep their addresses until they end",
        )
    seen = read_ready_nodes(evidence)
    if isinstance(seen, Refusal):
        return seen
    # a pool deleted by hand leaves the question for its addresses behind: no pod starts then
    if not six and not held and not _asked(calico, seen):
        return Refusal(reason="no IPv6 pool is on, and no pod asks for one", needless=True)
    targets = find_conflists(evidence, seen)
    if isinstance(targets, Refusal):
        return targets
    why = "assign_ipv6 false: no pod asks for IPv6" + describe_missing_nodes(evidence)
    above = find_template(evidence)
    made = [
        replace(_change(target, why), template=None if target == above else above)
        for target in targets
    ]
    if delete and calico.installed:
        target = ObjectSpec(kind="DaemonSet", namespace=calico.namespace, name="calico-node")
        kept = "NO_DEFAULT_POOLS, IP6=none: it does not make the pool again; it restarts"
        made.append(_change(target, kept))
    note = f"; {len(used)} running pods keep their addresses" if used else ""
    for pool in six:
        # what was begun by one API is ended by it
        target = ours.get(pool.name, ObjectSpec(kind=pool.kind, name=pool.name))
        change = _change(target, _why(pool, delete=delete) + note, delete=delete)
        made.append(replace(change, needs_proof_first=True))
    return tuple(made)


def _asked(calico: Calico, seen: Mapping[str, HostView]) -> bool:
    """Whether new pods are to have IPv6 addresses, on some node or on the next."""
    used = [found.text for view in seen.values() if (found := find_active_conflist(view))]
    try:
        return any(assigns_ipv6(text) for text in (*used, calico.config or "") if text)
    except ConflistError:
        return True  # the edit says where it is broken


def _deleted(held: tuple[Change, ...]) -> bool:
    return any(change.edit.options.get("delete") for change in held)


def _change(target: Target, why: str, *, delete: bool = False) -> Change:
    return Change(target=target, edit=Edit(fix=NAME, options={"delete": delete}), why=why)


def _why(pool: IpPool, *, delete: bool) -> str:
    if delete:
        return f"the pool {pool.cidr} goes; what is stored makes it again as it was"
    return f"the pool {pool.cidr} gives no more addresses; calico-node does not make it again"


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """What each of the targets becomes."""
    match target:
        case ConfigMapKey() | NodeFile():
            return edit_conflist(content, stop_assigning_ipv6)
        case ObjectSpec(kind="DaemonSet"):
            return None if content is None else encode_spec(_no_default_pools(json.loads(content)))
        case ObjectSpec():  # a pool
            if content is None or edit.options["delete"]:
                return None
            return encode_spec({**json.loads(content), "disabled": True})
    raise CannotEdit(f"{target} is nothing that this fix changes")


def _no_default_pools(spec: Any) -> Any:
    for container in spec["template"]["spec"]["containers"]:
        if container["name"] != "calico-node":
            continue
        drop = {*_ENVIRONMENT, *_FATAL}
        kept = [one for one in container.get("env", ()) if one["name"] not in drop]
        made = [{"name": name, "value": value} for name, value in _ENVIRONMENT.items()]
        container["env"] = [*kept, *made]
    return spec


FIX = Fix(
    name=NAME,
    order=50,
    summary="Calico gives pods no IPv6 addresses",
    impact="the CNI configuration of every node and Calico's IPv6 pools: all pods that start from "
    "now on; running pods keep their addresses",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO, Need.IP_POOLS}),
    plan_changes=plan_changes,
    edit=edit,
    resolved_checks=("hosts.start", "hosts.covered"),
    options=(
        FixOption(
            name="delete",
            help="Delete the IPv6 pool instead of disabling it; calico-node is first told not to "
            "make it again, and restarts.",
        ),
        FixOption(
            name="force-pool",
            help="With --delete: although running pods use its addresses.",
        ),
    ),
    rollback_on_failure=True,
)
