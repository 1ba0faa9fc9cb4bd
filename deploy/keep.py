"""`mirror fix --keep`: a keeper in the cluster that puts fixes back, and how it is taken away.

What is on nodes is kept by their agents, which are told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from deploy import repair
from deploy.changes import node_keep
from deploy.changes.engine import Engine
from deploy.changes.ledger import name_of
from deploy.changes.model import ConfigMapKey, LedgerEntry, ObjectSpec, Right
from deploy.changes.node_keep import Place
from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.cluster.kinds import KINDS
from deploy.cluster.rollout import rolled_out
from deploy.evidence import hosts
from deploy.evidence.collect import read_nodes
from deploy.evidence.keeper import runs
from deploy.manifests.agent import HOME, KEEPER
from deploy.manifests.keeper import COMPONENT, Kept, keeper_objects, pages
from deploy.manifests.model import MANAGED_BY, NAME
from deploy.standing import known
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import until

_SECONDS = 90.0  # until it runs
_LABELS = f"{MANAGED_BY}={NAME},app.kubernetes.io/component={COMPONENT}"
_KINDS = (
    "ConfigMap",
    "Deployment",
    "RoleBinding",
    "Role",
    "ClusterRoleBinding",
    "ClusterRole",
    "ServiceAccount",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """``keeps`` are the targets, ``leaves`` those of the fixes that nobody keeps just now: their
    node is away, or its agent does not answer.
    """

    keeps: tuple[str, ...]
    leaves: tuple[str, ...]
    running: bool


def foresee(cluster: Cluster) -> Keeper:
    """What a keeper would keep now; nothing is written."""
    entries = repair.engine(cluster).entries()
    there = _agents(cluster)
    nodes = node_keep.on_nodes(entries, known())
    return _keeper(_kept(entries), nodes, {one for one in nodes if one[0] in there}, running=False)


def bring(cluster: Cluster, image: str | None, progress: Progress = SILENT) -> Keeper:
    """Make the keeper, or bring it to what is in the ledger now, and wait until it runs.

    Raises InputError where there is nothing to keep, UnfitError where there is no image.
    """
    works = repair.engine(cluster)
    entries = works.entries()
    kept, nodes = _kept(entries), node_keep.on_nodes(entries, known())
    if not kept and not nodes:
        raise InputError(
            "there is nothing to keep: no fix is made",
            next_step="mirror fix all --keep, or another fix's name",
        )
    if image is None:
        raise UnfitError(
            "no image for the keeper", next_step="give --image REF, or bring the mirror up first"
        )
    _make(cluster, works, kept, image, progress)
    if nodes:
        hosts.ensure(cluster, image, read_nodes(cluster), progress)
    return _keeper(kept, nodes, _tell(cluster, works, nodes), running=True)


def follow(cluster: Cluster, progress: Progress = SILENT) -> None:
    """Where there is a keeper: bring it to the ledger, or end it where nothing is left to keep."""
    found = _seen(cluster)
    if found is None:
        return
    works = repair.engine(cluster)
    entries = works.entries()
    kept, nodes = _kept(entries), node_keep.on_nodes(entries, known())
    if not kept and not nodes:
        remove(cluster)
        return
    if pages(found) != {one.word for one in kept}:
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        _make(cluster, works, kept, image, progress)
    _tell(cluster, works, nodes)


def tell_nodes(cluster: Cluster) -> None:
    """Where there is a keeper: the agents alone, after a change that was not brought to its end."""
    if _seen(cluster):
        works = repair.engine(cluster)
        _tell(cluster, works, node_keep.on_nodes(works.entries(), known()))


def remove(cluster: Cluster) -> tuple[str, ...]:
    """Take the keeper and its rights away; what was there, as KIND NAME."""
    node_keep.end(cluster, _agents(cluster))
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
    entries = repair.engine(cluster).entries()
    kept, nodes, there = _kept(entries), node_keep.on_nodes(entries, known()), pages(found)
    keeps = node_keep.keeps(cluster, _agents(cluster)) if nodes else set[Place]()
    seen = _keeper([one for one in kept if one.word in there], nodes, keeps, running=False)
    return replace(
        seen,
        leaves=(*(one.title for one in kept if one.word not in there), *seen.leaves),
        running=runs(found),
    )


def _keeper(
    kept: Iterable[Kept], nodes: Mapping[Place, LedgerEntry], keeps: set[Place], *, running: bool
) -> Keeper:
    on_nodes = [str(entry.target) for place, entry in nodes.items() if place in keeps]
    return Keeper(
        keeps=(*(one.title for one in kept), *on_nodes),
        leaves=tuple(str(entry.target) for place, entry in nodes.items() if place not in keeps),
        running=running,
    )


def _make(
    cluster: Cluster, works: Engine, kept: list[Kept], image: str, progress: Progress
) -> None:
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


def _tell(cluster: Cluster, works: Engine, nodes: Mapping[Place, LedgerEntry]) -> set[Place]:
    return node_keep.tell(cluster, works, known(), _agents(cluster)) if nodes else set()


def _agents(cluster: Cluster) -> Mapping[str, str]:
    """Node → the agent's pod; none where that may not be seen."""
    try:
        return hosts.running(cluster, read_nodes(cluster))
    except MirrorError:
        return {}


def _seen(cluster: Cluster) -> Object | None:
    """The keeper's Deployment; who may not see it has made none."""
    try:
        return _held(cluster)
    except ApiRefusal as refusal:
        if refusal.status == 403:
            return None
        raise


def _held(cluster: Cluster) -> Object | None:
    return cluster.get("Deployment", KEEPER, HOME)


def _kept(entries: Iterable[LedgerEntry]) -> list[Kept]:
    """What of the fixes is an object of the API."""
    kept, fixes = list[Kept](), known()
    for entry in entries:
        if not any(one.edit.fix in fixes for one in entry.edits):
            continue
        target = entry.target
        if isinstance(target, ConfigMapKey):
            kind, name, namespace = "ConfigMap", target.name, target.namespace
        elif isinstance(target, ObjectSpec):
            kind, name, namespace = target.kind, target.name, target.namespace or ""
        else:
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
    return sorted(kept, key=lambda one: one.page)


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
