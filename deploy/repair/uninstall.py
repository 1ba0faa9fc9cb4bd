"""`mirror uninstall`: undo all changes, remove the mirror, and prove that nothing is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from deploy.changes.ledger import is_ledger_entry
from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name
from deploy.lifecycle.down import DownResult, PurgePlan, describe_purge, take_down
from deploy.manifests.agent import SYSTEM_NAMESPACE
from deploy.manifests.model import ENV_MAP, MANAGED_BY, NAME
from deploy.repair import reconciler
from deploy.repair.attach import AttachPlan, detach, plan_detach_all
from deploy.repair.model import RepairPlan
from deploy.repair.node_agents import remove_idle_agents
from deploy.repair.rollback import plan_rollback, roll_back
from mirror.core.errors import MirrorError, WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

# kinds that this program creates; children such as pods go with their owners
_OUR_KINDS = (
    *("StatefulSet", "DaemonSet", "Deployment", "Job", "Pod", "Service", "NetworkPolicy"),
    *("RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole", "ServiceAccount"),
    *("ConfigMap", "Secret", "Lease", "PersistentVolumeClaim", "Namespace"),
)
_GONE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OurObject:
    """An object in the cluster with our label."""

    kind: str
    namespace: str | None
    name: str
    is_ledger: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"

    @property
    def delete_command(self) -> str:
        where = f"-n {self.namespace} " if self.namespace else ""
        return f"kubectl {where}delete {self.kind.lower()} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UninstallPlan:
    """What goes: changes that are rolled back, attachments, and the mirror in its namespace."""

    rollback: RepairPlan
    attachments: AttachPlan
    purge: PurgePlan
    others: tuple[str, ...]  # our objects outside the mirror's namespace
    unproven: tuple[OurObject, ...] = ()  # left alone: nothing but the label says that it is ours

    @property
    def is_empty(self) -> bool:
        has_changes = self.has_rollback or self.attachments.updates or self.attachments.failures
        return not has_changes and self.purge.is_empty and not self.others

    @property
    def has_rollback(self) -> bool:
        return bool(self.rollback.updates or self.rollback.unreachable or self.rollback.failures)


@dataclass(frozen=True, slots=True, kw_only=True)
class UninstallResult:
    """What was undone and removed. ``unchecked`` are kinds that this user may not list.

    ``unproven`` carry our label, which whoever may edit their namespace can set: they stay.
    """

    rolled_back: tuple[str, ...]
    detached: tuple[str, ...]
    removed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    unchecked: tuple[str, ...]
    other_mirrors: tuple[str, ...] = field(default=())  # namespaces of mirrors that stay
    unproven: tuple[OurObject, ...] = ()


def plan_uninstall(cluster: Cluster, namespace: str, *, dry_run: bool = False) -> UninstallPlan:
    """Return what `uninstall` would undo and remove; only a dry run starts no node agent."""
    objects, _ = list_our_objects(cluster)
    kept = {namespace, *_find_other_mirrors(objects, namespace)}
    purge = describe_purge(cluster, namespace)
    unproven = _select_unproven(objects, namespace, purge.published)
    return UninstallPlan(
        rollback=plan_rollback(cluster, (), dry_run=dry_run),
        attachments=plan_detach_all(cluster),
        purge=purge,
        others=tuple(
            str(obj)
            for obj in objects
            if obj not in unproven
            and not obj.is_ledger
            and kept.isdisjoint({obj.namespace, obj.name})
        ),
        unproven=tuple(obj for obj in unproven if obj.namespace not in kept),
    )


def uninstall(
    cluster: Cluster, namespace: str, plan: UninstallPlan, progress: Progress, *, force: bool
) -> UninstallResult:
    """Roll back, remove the reconciler, detach, withdraw, remove the mirror, and look for remains.

    Raises RefusedError for later edits by others unless ``force``, and MirrorError if something of
    ours is left in the cluster.
    """
    rolled_back: tuple[str, ...] = ()
    if plan.has_rollback:
        # what is no usable entry of the ledger stops nothing: it is among what is left at the end
        failures = tuple(f for f in plan.rollback.failures if not isinstance(f.target, str))
        rollback = replace(plan.rollback, failures=failures)
        rolled_back = roll_back(cluster, rollback, progress, force=force).written
    progress.step("remove the reconciler and the node agents")
    removed = list(reconciler.uninstall(cluster))
    detached = detach(cluster, plan.attachments, progress, force=force)
    if unfinished := remove_idle_agents(cluster, rolled_back=True):
        raise MirrorError(
            "the node agents could not undo everything; the mirror is still installed",
            why="\n".join(unfinished),
            next_step="run mirror uninstall again when the nodes are back",
        )
    down: DownResult = take_down(cluster, namespace, purge=True, progress=progress)
    removed += [name.replace("/", " ", 1) for name in down.removed]
    progress.step("look for what is left in the cluster")
    objects, unchecked = list_our_objects(cluster)
    others = _find_other_mirrors(objects, namespace)
    unproven = _select_unproven(objects, namespace, plan.purge.published)
    if not others:
        removed += _remove_leftovers(cluster, [obj for obj in objects if obj not in unproven])
        objects = _wait_until_gone(cluster, unproven)
    left = [obj for obj in objects if obj not in unproven and (obj.is_ledger or not others)]
    if left:
        raise MirrorError(
            f"{len(left)} objects of the mirror are left in the cluster",
            why="\n".join(map(str, left)),
            next_step="mirror fix shows what is still applied"
            if any(obj.is_ledger for obj in left)
            else "; ".join(obj.delete_command for obj in left),
        )
    return UninstallResult(
        rolled_back=rolled_back,
        detached=detached,
        removed=tuple(removed),
        withdrawn=down.withdrawn,
        unchecked=unchecked,
        other_mirrors=others,
        unproven=tuple(obj for obj in unproven if obj.namespace not in others),
    )


def list_our_objects(cluster: Cluster) -> tuple[tuple[OurObject, ...], tuple[str, ...]]:
    """Return every object with our label in the cluster, and the kinds that cannot be listed."""
    found: list[OurObject] = []
    unchecked = []
    for kind in _OUR_KINDS:
        try:
            objects = cluster.list(kind, labels=f"{MANAGED_BY}={NAME}")
        except ApiError as error:
            if error.status not in {403, 404}:
                raise
            unchecked.append(API_RESOURCES[kind].plural)
        else:
            found += (_describe(kind, obj) for obj in objects)
    return tuple(found), tuple(unchecked)


def _describe(kind: str, obj: Object) -> OurObject:
    return OurObject(
        kind=kind,
        namespace=obj["metadata"].get("namespace"),
        name=get_name(obj),
        is_ledger=kind == "ConfigMap" and is_ledger_entry(obj),
    )


def _find_other_mirrors(objects: Iterable[OurObject], namespace: str) -> tuple[str, ...]:
    """Return the namespaces of other mirrors, running or stopped: those with a volume claim."""
    claims = {obj.namespace for obj in objects if obj.kind == "PersistentVolumeClaim"}
    return tuple(sorted(name for name in claims if name and name != namespace))


def _select_unproven(
    objects: Iterable[OurObject], namespace: str, published: Collection[str]
) -> tuple[OurObject, ...]:
    """Return the objects in namespaces of users that no record names.

    Only administrators write in kube-system, in the mirror's namespace, in namespaces that we made
    and outside of namespaces. Elsewhere, only what was published there is ours.
    """
    objects = tuple(objects)
    trusted = {obj.name for obj in objects if obj.kind == "Namespace"}
    trusted |= {namespace, SYSTEM_NAMESPACE}
    return tuple(
        obj
        for obj in objects
        if obj.namespace is not None
        and obj.namespace not in trusted
        and not (obj.kind == "ConfigMap" and obj.name == ENV_MAP and obj.namespace in published)
    )


def _remove_leftovers(cluster: Cluster, objects: Iterable[OurObject]) -> Iterator[str]:
    """Delete what no step above knows, such as what an older version left in kube-system.

    An entry of the ledger stays: it holds the only copy of what was there before a fix.
    """
    for obj in objects:
        is_mortal = obj.kind not in {"Namespace", "PersistentVolumeClaim"} and not obj.is_ledger
        if is_mortal and cluster.delete(obj.kind, obj.name, obj.namespace):
            yield str(obj)


def _wait_until_gone(cluster: Cluster, unproven: Collection[OurObject]) -> tuple[OurObject, ...]:
    """Return what is left after objects that are being deleted had time to go."""

    def is_gone() -> bool:
        objects, _ = list_our_objects(cluster)
        return all(obj.is_ledger or obj in unproven for obj in objects)

    with suppress(WaitTimeout):
        wait_until(is_gone, deadline=cluster.deadline.within(_GONE_SECONDS), what="all is gone")
    return list_our_objects(cluster)[0]
