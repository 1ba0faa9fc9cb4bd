"""Running pods that keep IPv6 after `pod-sysctl`, and their workloads made again.

The fix reaches pods that start from now on: older ones are told by when they started. Addresses
alone do not tell, since Calico goes on to give new pods one that the kernel does not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from deploy.changes.model import LedgerEntry, NodeFile
from deploy.changes.update import TargetUpdate
from deploy.cluster.access import Permission
from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import is_rolled_out
from deploy.evidence.workloads import find_owner
from deploy.findings.phrases import join_names
from mirror.core.errors import InputError
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

FIX_NAME = "pod-sysctl"
ALL_WORKLOADS = "all"
SYSTEM_NAMESPACE = "kube-system"
_ROLLED = ("Deployment", "StatefulSet", "DaemonSet")
_MARK = "kubectl.kubernetes.io/restartedAt"
_WRITTEN = timedelta(seconds=2)  # from the time in the ledger until the file is there
_NOW = (
    datetime.max.replace(tzinfo=UTC) - _WRITTEN
)  # its node is about to be changed: all there are older
PERMISSIONS = tuple(
    Permission(verb=verb, resource=API_RESOURCES[kind].plural)
    for kind in _ROLLED
    for verb in ("list", "patch")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRequest:
    """Which workloads are made again: a label selector of theirs, or `all`.

    ``system``: those of kube-system and of the mirror's ``namespace`` too.
    """

    selector: str
    system: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StalePod:
    """A pod that keeps IPv6: ``addresses``, or link-local ones only."""

    name: str
    node: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleWorkload:
    """The older pods of one workload. ``restarts``: it is asked for; ``why_not``: not possible."""

    kind: str
    namespace: str
    name: str
    pods: tuple[StalePod, ...] = field(default=())
    restarts: bool = False
    why_not: str = ""

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"


def find_change_times(
    entries: Iterable[LedgerEntry], steps: Sequence[TargetUpdate] = ()
) -> Mapping[str, datetime]:
    """Node → when its CNI's file was changed by the fix; ``steps`` are still to be done."""
    found = {
        entry.target.node: datetime.fromisoformat(entry.at)
        for entry in entries
        if isinstance(entry.target, NodeFile)
        and any(one.edit.fix == FIX_NAME for one in entry.edits)
    }
    planned = {
        step.target.node: _NOW
        for step in steps
        if isinstance(step.target, NodeFile)
        and step.changes_target
        and any(one.edit.fix == FIX_NAME for one in step.edits)
    }
    return {**found, **planned}


def find_stale_workloads(
    cluster: Cluster, changed: Mapping[str, datetime], asked: RestartRequest | None = None
) -> tuple[StaleWorkload, ...]:
    """Workloads with pods that keep IPv6, by namespace; which of them are to be made again."""
    groups: dict[tuple[str, str, str], list[StalePod]] = {}
    for pod in cluster.list("Pod"):
        kept = _kept(pod, changed)
        if kept:
            groups.setdefault(find_owner(pod), []).append(kept)
    found = [
        StaleWorkload(kind=kind, namespace=space, name=name, pods=tuple(pods))
        for (space, kind, name), pods in sorted(groups.items())
    ]
    if asked is None:
        return tuple(found)
    known = _workloads(cluster, asked.selector)
    return tuple(_decided(one, known, asked) for one in found)


def try_find_stale_workloads(
    cluster: Cluster, changed: Mapping[str, datetime], asked: RestartRequest | None = None
) -> tuple[tuple[StaleWorkload, ...], str]:
    """The same, or why it cannot be seen by a user who asked for no restart."""
    try:
        return find_stale_workloads(cluster, changed, asked), ""
    except ApiError as refusal:
        if asked is not None:
            raise
        return (), f"running pods that keep IPv6: {refusal.why or refusal}"


def _kept(pod: Object, changed: Mapping[str, datetime]) -> StalePod | None:
    """What it keeps of IPv6; None for pods of the host's network, and those that have ended."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    gone = "deletionTimestamp" in meta or status.get("phase") in {"Succeeded", "Failed"}
    if gone or spec.get("hostNetwork") or not status.get("startTime"):
        return None
    node = spec.get("nodeName", "")
    six = tuple(one["ip"] for one in status.get("podIPs", ()) if ":" in one["ip"])
    at = changed.get(node)
    # of a node that was not there, or not Ready, only what Calico gave is known
    fresh = not six if at is None else datetime.fromisoformat(status["startTime"]) > at + _WRITTEN
    if fresh:
        return None
    return StalePod(name=meta["name"], node=node, addresses=six)


def _workloads(cluster: Cluster, selector: str) -> Mapping[tuple[str, str, str], Object]:
    """Those that match, by kind, namespace and name."""
    labels = "" if selector == ALL_WORKLOADS else selector
    found = {}
    for kind in _ROLLED:
        try:
            listed = cluster.list(kind, labels=labels)
        except ApiError as refusal:
            if refusal.status == 400 and labels:
                raise InputError(
                    f"--restart {selector!r} is no label selector",
                    why=refusal.why,
                    next_step="such as app=backend, or all",
                ) from refusal
            raise
        for one in listed:
            found[kind, one["metadata"]["namespace"], one["metadata"]["name"]] = one
    return found


def _decided(
    one: StaleWorkload, known: Mapping[tuple[str, str, str], Object], asked: RestartRequest
) -> StaleWorkload:
    if one.kind not in _ROLLED:
        return replace(one, why_not=_BY_HAND.get(one.kind, f"its {one.kind} is not known here"))
    found = known.get((one.kind, one.namespace, one.name))
    if found is None:
        return replace(one, why_not="not selected")
    if one.namespace in {SYSTEM_NAMESPACE, asked.namespace} and not asked.system:
        return replace(one, why_not="only with --restart-system")
    spec = found["spec"]
    if spec.get("paused"):
        return replace(one, why_not="it is paused")
    strategy = spec.get("updateStrategy", {})
    if strategy.get("type") == "OnDelete":
        return replace(one, why_not="its updateStrategy is OnDelete: delete its pods")
    if (strategy.get("rollingUpdate") or {}).get("partition"):
        return replace(one, why_not="its rollingUpdate has a partition: delete its pods")
    return replace(one, restarts=True)


_BY_HAND = {
    "Pod": "no workload makes it again: delete it, and make it anew",
    "Job": "it ends by itself",
    "CronJob": "it ends by itself",
}


def restart_workloads(
    cluster: Cluster, chosen: Iterable[StaleWorkload], progress: Progress
) -> tuple[str, ...]:
    """Roll workloads as `kubectl rollout restart` does, side by side, to their end.

    Raises WaitTimeout that names those that are still under way when the command's time is over.
    """
    wanted = [one for one in chosen if one.restarts]
    if not wanted:
        return ()
    progress.step(f"restart {join_names((one.title for one in wanted), 3)}")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    patch = {"spec": {"template": {"metadata": {"annotations": {_MARK: at}}}}}
    asked = {
        one: int(cluster.patch(one.kind, one.name, one.namespace, patch)["metadata"]["generation"])
        for one in wanted
    }
    left = dict(asked)

    def look() -> bool:
        for one, generation in list(left.items()):
            found = cluster.get(one.kind, one.name, one.namespace)
            if found is None or is_rolled_out(found, generation):
                del left[one]
        first = next(iter(left), None)
        progress.count(len(asked) - len(left), len(asked), first.title if first else "")
        return not left

    wait_until(
        look,
        deadline=cluster.deadline,
        what="the workloads are restarted",
        why=lambda: "still under way: " + ", ".join(one.title for one in left),
        next_step="kubectl -n NAMESPACE rollout status KIND/NAME says why; the fix itself is "
        "written and proved",
    )
    return tuple(one.title for one in wanted)
