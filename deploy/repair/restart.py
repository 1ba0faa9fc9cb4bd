"""Find running pods that keep IPv6 after `pod-sysctl`, and restart their workloads.

The fix reaches pods that start after it, so a pod's start time tells whether it has the fix. Its
addresses do not: Calico still gives new pods an IPv6 address that the kernel does not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deploy.changes.model import Change, LedgerEntry, NodeFile
from deploy.changes.update import TargetUpdate
from deploy.cluster.access import list_permissions
from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name, is_rolled_out
from deploy.evidence.workloads import find_owner
from deploy.findings.phrases import join_names
from mirror.core.errors import InputError
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

FIX_NAME = "pod-sysctl"
ALL_WORKLOADS = "all"
SYSTEM_NAMESPACE = "kube-system"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # the annotation of `kubectl rollout restart`
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
_WRITE_LAG = timedelta(seconds=2)  # the file lands up to 2 s after the ledger's timestamp
# the time of a change that is still to come: every pod is older
_FUTURE = datetime.max.replace(tzinfo=UTC) - _WRITE_LAG
_NOT_RESTARTABLE = {
    "Pod": "no workload recreates it: delete it and create it again",
    "Job": "it ends by itself",
    "CronJob": "it ends by itself",
}
PERMISSIONS = tuple(
    permission
    for kind in _KINDS
    for permission in list_permissions("list patch", API_RESOURCES[kind].plural)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRequest:
    """The workloads to restart: a label selector, or `all`.

    ``system`` adds those of kube-system and of the mirror's ``namespace``.
    """

    selector: str
    system: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StalePod:
    """A pod that keeps IPv6: with these addresses, or only link-local ones."""

    name: str
    node: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleWorkload:
    """The stale pods of one workload. ``restarts``: it will be restarted; ``why_not`` if not."""

    kind: str
    namespace: str
    name: str
    pods: tuple[StalePod, ...] = ()
    restarts: bool = False
    why_not: str = ""

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"


def find_change_times(
    entries: Iterable[LedgerEntry],
    updates: Sequence[TargetUpdate] = (),
    unseen: Sequence[Change] = (),
) -> Mapping[str, datetime]:
    """Return node → the time when the fix changed its CNI configuration.

    ``updates`` and ``unseen`` are still to be applied: all pods on their nodes are older.
    """
    applied = {
        entry.target.node: datetime.fromisoformat(entry.at)
        for entry in entries
        if isinstance(entry.target, NodeFile) and entry.has_edit_of([FIX_NAME])
    }
    planned = {
        update.target.node: _FUTURE
        for update in updates
        if isinstance(update.target, NodeFile)
        and update.changes_target
        and any(applied.edit.fix == FIX_NAME for applied in update.edits)
    }
    planned |= {
        change.target.node: _FUTURE
        for change in unseen
        if isinstance(change.target, NodeFile) and change.edit.fix == FIX_NAME
    }
    return {**applied, **planned}


def find_stale_workloads(
    cluster: Cluster, changed: Mapping[str, datetime], request: RestartRequest | None = None
) -> tuple[StaleWorkload, ...]:
    """Return the workloads with pods that keep IPv6, and which of them are to be restarted."""
    pods: dict[tuple[str, str, str], list[StalePod]] = {}
    for pod in cluster.list("Pod"):
        stale = _check_pod(pod, changed)
        if stale:
            pods.setdefault(find_owner(pod), []).append(stale)
    workloads = [
        StaleWorkload(kind=kind, namespace=namespace, name=name, pods=tuple(stale_pods))
        for (namespace, kind, name), stale_pods in sorted(pods.items())
    ]
    if request:
        selected = _select_workloads(cluster, request.selector)
        obstacles = [_find_obstacle(workload, selected, request) for workload in workloads]
        workloads = [
            replace(workload, restarts=not obstacle, why_not=obstacle)
            for workload, obstacle in zip(workloads, obstacles, strict=True)
        ]
    return tuple(workloads)


def try_find_stale_workloads(
    cluster: Cluster, changed: Mapping[str, datetime], request: RestartRequest | None = None
) -> tuple[tuple[StaleWorkload, ...], str]:
    """Return the workloads and "", or none and the reason if this user may not list pods.

    Raises the error if a restart was requested.
    """
    try:
        return find_stale_workloads(cluster, changed, request), ""
    except ApiError as error:
        if request is not None:
            raise
        return (), f"running pods that keep IPv6: {error.why or error}"


def restart_workloads(
    cluster: Cluster, workloads: Iterable[StaleWorkload], progress: Progress
) -> tuple[str, ...]:
    """Restart workloads in parallel, as `kubectl rollout restart` does, and wait for the end.

    Raises WaitTimeout that names the unfinished ones at the command's deadline.
    """
    chosen = [workload for workload in workloads if workload.restarts]
    if not chosen:
        return ()
    progress.step(f"restart {join_names((workload.title for workload in chosen), 3)}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
    unfinished = {
        w: int(cluster.patch(w.kind, w.name, w.namespace, patch)["metadata"]["generation"])
        for w in chosen
    }

    def are_rolled_out() -> bool:
        for workload, generation in list(unfinished.items()):
            obj = cluster.get(workload.kind, workload.name, workload.namespace)
            if obj is None or is_rolled_out(obj, generation):
                del unfinished[workload]
        first = next(iter(unfinished), None)
        progress.count(len(chosen) - len(unfinished), len(chosen), first.title if first else "")
        return not unfinished

    wait_until(
        are_rolled_out,
        deadline=cluster.deadline,
        what="the workloads are restarted",
        why=lambda: "unfinished: " + ", ".join(workload.title for workload in unfinished),
        next_step="kubectl -n NAMESPACE rollout status KIND/NAME says why; the fix itself is "
        "written and proved",
    )
    return tuple(workload.title for workload in chosen)


def _check_pod(pod: Object, changed: Mapping[str, datetime]) -> StalePod | None:
    """Return the IPv6 that the pod keeps; None if it has none, has ended or is on hostNetwork."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    has_ended = "deletionTimestamp" in meta or status.get("phase") in {"Succeeded", "Failed"}
    if has_ended or spec.get("hostNetwork") or not status.get("startTime"):
        return None
    node = spec.get("nodeName", "")
    addresses = tuple(ip["ip"] for ip in status.get("podIPs", ()) if ":" in ip["ip"])
    changed_at = changed.get(node)
    if changed_at is None:
        # the fix did not reach the node: all we know is the addresses from Calico
        is_fixed = not addresses
    else:
        is_fixed = datetime.fromisoformat(status["startTime"]) > changed_at + _WRITE_LAG
    return None if is_fixed else StalePod(name=meta["name"], node=node, addresses=addresses)


def _select_workloads(cluster: Cluster, selector: str) -> Mapping[tuple[str, str, str], Object]:
    """Return the matching workloads by kind, namespace and name."""
    labels = "" if selector == ALL_WORKLOADS else selector
    selected: dict[tuple[str, str, str], Object] = {}
    for kind in _KINDS:
        try:
            objects = cluster.list(kind, labels=labels)
        except ApiError as error:
            if error.status == 400 and labels:
                raise InputError(
                    f"--restart {selector!r} is not a label selector",
                    why=error.why,
                    next_step="such as app=backend, or all",
                ) from error
            raise
        selected |= {(kind, obj["metadata"]["namespace"], get_name(obj)): obj for obj in objects}
    return selected


def _find_obstacle(
    workload: StaleWorkload,
    selected: Mapping[tuple[str, str, str], Object],
    request: RestartRequest,
) -> str:
    """Return why the workload is not restarted; empty if it is."""
    if workload.kind not in _KINDS:
        return _NOT_RESTARTABLE.get(workload.kind, f"kind {workload.kind} is not supported")
    obj = selected.get((workload.kind, workload.namespace, workload.name))
    if obj is None:
        return "not selected"
    if workload.namespace in {SYSTEM_NAMESPACE, request.namespace} and not request.system:
        return "only with --restart-system"
    spec = obj["spec"]
    if spec.get("paused"):
        return "it is paused"
    strategy = spec.get("updateStrategy", {})
    if strategy.get("type") == "OnDelete":
        return "its updateStrategy is OnDelete: delete its pods"
    if (strategy.get("rollingUpdate") or {}).get("partition"):
        return "its rollingUpdate has a partition: delete its pods"
    return ""
