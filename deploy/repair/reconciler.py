"""`mirror fix --keep`: a keeper in the cluster that puts fixes back, and how it is taken away.

What is on nodes is kept by their agents, which are told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from deploy.changes import node_reconcile
from deploy.changes.engine import ChangeEngine
from deploy.changes.ledger import config_map_name
from deploy.changes.model import ConfigMapKey, LedgerEntry, ObjectSpec
from deploy.changes.node_reconcile import NodeTarget
from deploy.cluster.access import Permission
from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import is_rolled_out
from deploy.evidence import node_agent
from deploy.evidence.fixes import is_running
from deploy.evidence.nodes import read_nodes
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.model import MANAGED_BY, NAME
from deploy.manifests.reconciler import (
    RECONCILER_COMPONENT,
    ReconciledObject,
    read_targets,
    render_reconciler_objects,
)
from deploy.registry import load_fixes
from deploy.repair import apply
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import wait_until

_SECONDS = 90.0  # until it runs
_LABELS = f"{MANAGED_BY}={NAME},app.kubernetes.io/component={RECONCILER_COMPONENT}"
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
class ReconcilerStatus:
    """``keeps`` are the targets, ``leaves`` those of the fixes that nobody keeps just now: their
    node is away, or its agent does not answer.
    """

    keeps: tuple[str, ...]
    leaves: tuple[str, ...]
    running: bool


def preview(cluster: Cluster) -> ReconcilerStatus:
    """What a keeper would keep now; nothing is written."""
    entries = apply.build_engine(cluster).entries()
    there = _agents(cluster)
    nodes = node_reconcile.select_node_entries(entries, load_fixes())
    return _keeper(_kept(entries), nodes, {one for one in nodes if one[0] in there}, running=False)


def install(cluster: Cluster, image: str | None, progress: Progress = SILENT) -> ReconcilerStatus:
    """Make the keeper, or bring it to what is in the ledger now, and wait until it runs.

    Raises InputError where there is nothing to keep, UnfitError where there is no image.
    """
    works = apply.build_engine(cluster)
    entries = works.entries()
    kept, nodes = _kept(entries), node_reconcile.select_node_entries(entries, load_fixes())
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
        node_agent.ensure_agents(cluster, image, read_nodes(cluster), progress)
    return _keeper(kept, nodes, _tell(cluster, works, nodes), running=True)


def refresh(cluster: Cluster, progress: Progress = SILENT) -> None:
    """Where there is a keeper: bring it to the ledger, or end it where nothing is left to keep."""
    found = _seen(cluster)
    if found is None:
        return
    works = apply.build_engine(cluster)
    entries = works.entries()
    kept, nodes = _kept(entries), node_reconcile.select_node_entries(entries, load_fixes())
    if not kept and not nodes:
        uninstall(cluster)
        return
    if read_targets(found) != {one.argument for one in kept}:
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        _make(cluster, works, kept, image, progress)
    _tell(cluster, works, nodes)


def refresh_agents(cluster: Cluster) -> None:
    """Where there is a keeper: the agents alone, after a change that was not brought to its end."""
    if _seen(cluster):
        works = apply.build_engine(cluster)
        _tell(cluster, works, node_reconcile.select_node_entries(works.entries(), load_fixes()))


def uninstall(cluster: Cluster) -> tuple[str, ...]:
    """Take the keeper and its rights away; what was there, as KIND NAME."""
    node_reconcile.stop_agents(cluster, _agents(cluster))
    gone = []
    for kind, namespace, name in _objects(cluster):
        if cluster.delete(kind, name, namespace):
            gone.append(f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}")
    return tuple(gone)


def read_status(cluster: Cluster) -> ReconcilerStatus | None:
    """The keeper as it is, or None where there is none."""
    found = _held(cluster)
    if found is None:
        return None
    entries = apply.build_engine(cluster).entries()
    kept, nodes, there = (
        _kept(entries),
        node_reconcile.select_node_entries(entries, load_fixes()),
        read_targets(found),
    )
    keeps = (
        node_reconcile.read_kept_targets(cluster, _agents(cluster)) if nodes else set[NodeTarget]()
    )
    seen = _keeper([one for one in kept if one.argument in there], nodes, keeps, running=False)
    return replace(
        seen,
        leaves=(*(one.title for one in kept if one.argument not in there), *seen.leaves),
        running=is_running(found),
    )


def _keeper(
    kept: Iterable[ReconciledObject],
    nodes: Mapping[NodeTarget, LedgerEntry],
    keeps: set[NodeTarget],
    *,
    running: bool,
) -> ReconcilerStatus:
    on_nodes = [str(entry.target) for place, entry in nodes.items() if place in keeps]
    return ReconcilerStatus(
        keeps=(*(one.title for one in kept), *on_nodes),
        leaves=tuple(str(entry.target) for place, entry in nodes.items() if place not in keeps),
        running=running,
    )


def _make(
    cluster: Cluster,
    works: ChangeEngine,
    kept: list[ReconciledObject],
    image: str,
    progress: Progress,
) -> None:
    wanted = render_reconciler_objects(image, kept)
    works.check_permissions((), _rights(wanted))
    progress.step("start the keeper")
    generation = 0
    for obj in wanted:
        generation = cluster.apply(obj)["metadata"].get("generation", 0)
    _prune(cluster, wanted)
    wait_until(
        lambda: is_rolled_out(
            cluster.get("Deployment", RECONCILER_NAME, SYSTEM_NAMESPACE) or {}, generation
        ),
        deadline=cluster.deadline.within(_SECONDS),
        what="the keeper runs",
        why=lambda: _why(cluster),
        next_step=f"kubectl -n {SYSTEM_NAMESPACE} describe deployment {RECONCILER_NAME}; "
        "mirror fix --no-keep ends it",
    )


def _tell(
    cluster: Cluster, works: ChangeEngine, nodes: Mapping[NodeTarget, LedgerEntry]
) -> set[NodeTarget]:
    return (
        node_reconcile.sync_agents(cluster, works, load_fixes(), _agents(cluster))
        if nodes
        else set()
    )


def _agents(cluster: Cluster) -> Mapping[str, str]:
    """Node → the agent's pod; none where that may not be seen."""
    try:
        return node_agent.find_running_agents(cluster, read_nodes(cluster))
    except MirrorError:
        return {}


def _seen(cluster: Cluster) -> Object | None:
    """The keeper's Deployment; who may not see it has made none."""
    try:
        return _held(cluster)
    except ApiError as refusal:
        if refusal.status == 403:
            return None
        raise


def _held(cluster: Cluster) -> Object | None:
    return cluster.get("Deployment", RECONCILER_NAME, SYSTEM_NAMESPACE)


def _kept(entries: Iterable[LedgerEntry]) -> list[ReconciledObject]:
    """What of the fixes is an object of the API."""
    kept, fixes = list[ReconciledObject](), load_fixes()
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
        where = API_RESOURCES[kind]
        kept.append(
            ReconciledObject(
                title=str(target),
                ledger_entry=config_map_name(target),
                path=where.path(namespace or None, name),
                group=where.group,
                plural=where.plural,
                name=name,
                namespace=namespace or None,
            )
        )
    return sorted(kept, key=lambda one: one.ledger_entry)


def _rights(wanted: Iterable[Object]) -> set[Permission]:
    return {
        Permission(
            verb=verb,
            resource=API_RESOURCES[obj["kind"]].plural,
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
        except ApiError as refusal:
            if refusal.status != 403:
                raise
            one = cluster.get(
                kind, RECONCILER_NAME, SYSTEM_NAMESPACE if API_RESOURCES[kind].namespaced else None
            )
            listed = [one] if one else []
        for one in listed:
            meta = one["metadata"]
            found.append((kind, meta.get("namespace"), meta["name"]))
    return found


def _why(cluster: Cluster) -> str:
    pods = cluster.list("Pod", SYSTEM_NAMESPACE, labels=_LABELS)
    return "\n".join(
        explain_pod(cluster, SYSTEM_NAMESPACE, pod["metadata"]["name"]) for pod in pods
    )
