"""`mirror fix --keep`: a keeper in the cluster that puts fixes back, and how it is taken away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploy import repair
from deploy.changes.ledger import name_of
from deploy.changes.model import ConfigMapKey, LedgerEntry, ObjectSpec, Right
from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.cluster.kinds import KINDS
from deploy.cluster.rollout import rolled_out
from deploy.manifests.agent import HOME
from deploy.manifests.keeper import COMPONENT, KEEPER, Kept, keeper_objects
from deploy.manifests.model import MANAGED_BY, NAME
from deploy.standing import known
from mirror.core.errors import InputError, UnfitError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import until

_SECONDS = 90.0  # until it runs
_LABELS = f"{MANAGED_BY}={NAME},app.kubernetes.io/component={COMPONENT}"
_KINDS = (
    "Deployment",
    "RoleBinding",
    "Role",
    "ClusterRoleBinding",
    "ClusterRole",
    "ServiceAccount",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """``keeps`` are the objects, ``leaves`` what of the fixes it cannot reach (on nodes)."""

    keeps: tuple[str, ...]
    leaves: tuple[str, ...]
    running: bool


def foresee(cluster: Cluster) -> Keeper:
    """What a keeper would keep now; nothing is written."""
    kept, leaves = _sorted(repair.engine(cluster).entries())
    return Keeper(keeps=tuple(one.title for one in kept), leaves=leaves, running=False)


def bring(cluster: Cluster, image: str | None, progress: Progress = SILENT) -> Keeper:
    """Make the keeper, or bring it to what is in the ledger now, and wait until it runs.

    Raises InputError where there is nothing to keep, UnfitError where there is no image.
    """
    works = repair.engine(cluster)
    kept, leaves = _sorted(works.entries())
    if not kept:
        raise InputError(
            "there is nothing to keep: no fix is made",
            next_step="mirror fix all --keep, or another fix's name",
        )
    if image is None:
        raise UnfitError(
            "no image for the keeper", next_step="give --image REF, or bring the mirror up first"
        )
    wanted = keeper_objects(image, kept)
    works.check_rights((), _rights(wanted))
    progress.step("start the keeper")
    generation = 0
    for obj in wanted:
        generation = cluster.apply(obj)["metadata"].get("generation", 0)
    _prune(cluster, wanted)
    until(
        lambda: rolled_out(cluster.get("Deployment", KEEPER, HOME) or {}, generation),
        deadline=cluster.deadline.within(_SECONDS),
        what="the keeper runs",
        why=lambda: _why(cluster),
        next_step=f"kubectl -n {HOME} describe deployment {KEEPER}; mirror fix --no-keep ends it",
    )
    return Keeper(keeps=tuple(one.title for one in kept), leaves=leaves, running=True)


def follow(cluster: Cluster, progress: Progress = SILENT) -> None:
    """Where there is a keeper: bring it to the ledger, or end it where nothing is left to keep."""
    try:
        found = _held(cluster)
    except ApiRefusal as refusal:
        if refusal.status == 403:
            return  # who may not see it has made none
        raise
    if found is None:
        return
    kept, _ = _sorted(repair.engine(cluster).entries())
    if not kept:
        remove(cluster)
        return
    container = found["spec"]["template"]["spec"]["containers"][0]
    pages = {f"{one.page}={one.path}" for one in kept}
    if set(container["command"]) & pages != pages or len(container["command"]) != 3 + 2 * len(
        pages
    ):
        bring(cluster, container["image"], progress)


def remove(cluster: Cluster) -> tuple[str, ...]:
    """Take the keeper and its rights away; what was there, as KIND NAME."""
    gone = []
    for kind, namespace, name in _objects(cluster):
        if cluster.delete(kind, name, namespace):
            gone.append(f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}")
    return tuple(gone)


def standing(cluster: Cluster) -> Keeper | None:
    """The keeper as it is, or None where there is none."""
    found = _held(cluster)
    if found is None:
        return None
    kept, leaves = _sorted(repair.engine(cluster).entries())
    words = found["spec"]["template"]["spec"]["containers"][0]["command"]
    keeps = tuple(one.title for one in kept if f"{one.page}={one.path}" in words)
    return Keeper(
        keeps=keeps,
        leaves=(*leaves, *(one.title for one in kept if one.title not in keeps)),
        running=rolled_out(found, found["metadata"]["generation"]),
    )


def _held(cluster: Cluster) -> Object | None:
    return cluster.get("Deployment", KEEPER, HOME)


def _sorted(entries: Iterable[LedgerEntry]) -> tuple[list[Kept], tuple[str, ...]]:
    """What of the fixes is an object of the API, and what is not."""
    kept, leaves, fixes = list[Kept](), list[str](), known()
    for entry in entries:
        if not any(one.edit.fix in fixes for one in entry.edits):
            continue
        target = entry.target
        if isinstance(target, ConfigMapKey):
            kind, name, namespace = "ConfigMap", target.name, target.namespace
        elif isinstance(target, ObjectSpec):
            kind, name, namespace = target.kind, target.name, target.namespace or ""
        else:
            leaves.append(str(target))
            continue
        where = KINDS[kind]
        kept.append(
            Kept(
                title=str(target),
                page=name_of(target),
                path=where.path(namespace or None, name),
                group=where.group,
                plural=where.plural,
                name=name,
                namespace=namespace or None,
            )
        )
    return sorted(kept, key=lambda one: one.page), tuple(leaves)


def _rights(wanted: Iterable[Object]) -> set[Right]:
    return {
        Right(
            verb=verb,
            resource=KINDS[obj["kind"]].plural,
            namespace=obj["metadata"].get("namespace"),
        )
        for obj in wanted
        for verb in ("get", "create", "patch", "delete")
    }


def _prune(cluster: Cluster, wanted: Iterable[Object]) -> None:
    """Rights that were needed for what is kept no more."""
    there = {
        (obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in wanted
    }
    for kind, namespace, name in _objects(cluster):
        if (kind, namespace, name) not in there:
            cluster.delete(kind, name, namespace)


def _objects(cluster: Cluster) -> list[tuple[str, str | None, str]]:
    found: list[tuple[str, str | None, str]] = []
    for kind in _KINDS:
        try:
            listed = cluster.list(kind, labels=_LABELS)
        except ApiRefusal as refusal:
            if refusal.status != 403:
                raise
            one = cluster.get(kind, KEEPER, HOME if KINDS[kind].namespaced else None)
            listed = [one] if one else []
        for one in listed:
            meta = one["metadata"]
            found.append((kind, meta.get("namespace"), meta["name"]))
    return found


def _why(cluster: Cluster) -> str:
    pods = cluster.list("Pod", HOME, labels=_LABELS)
    return "\n".join(explain_pod(cluster, HOME, pod["metadata"]["name"]) for pod in pods)
