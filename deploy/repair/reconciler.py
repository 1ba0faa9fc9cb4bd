"""`mirror fix --keep`: install, refresh and uninstall the reconciler, which restores fixes.

Its Deployment keeps objects of the API; the node agents keep what is on nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.changes.cni_targets import CONFIG_MAP as CALICO_CONFIG_MAP
from deploy.changes.engine import ChangeEngine
from deploy.changes.ledger import config_map_name
from deploy.changes.model import ConfigMapKey, LedgerEntry, ObjectSpec
from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.api_resources import API_RESOURCES, kind_name
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import get_image, get_name, is_rolled_out
from deploy.evidence import node_agent
from deploy.evidence.agent_image import explain_pull_secret, read_pull_secret
from deploy.evidence.fixes import is_running
from deploy.evidence.nodes import read_nodes
from deploy.fix_registry import build_engine, load_fixes
from deploy.manifests.agent import NODE_DEFAULTS_MAP, RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.image_versions import has_0_1_modules
from deploy.manifests.model import MANAGED_BY, NAME
from deploy.manifests.reconciler import (
    RECONCILER_COMPONENT,
    ReconciledObject,
    read_options,
    render_reconciler_objects,
)
from deploy.repair import node_agents
from deploy.repair.node_agents import NodeTarget
from mirror.core.codec import json_key
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import wait_until

_START_SECONDS = 90.0
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
    """The targets that are kept, and those that are not at present.

    A node's target is not kept while the node is down or its agent does not respond. ``reported``
    are only watched: whoever writes them decides what runs on nodes, so a person restores them.
    """

    kept: tuple[str, ...] = field(metadata=json_key("keeps"))
    not_kept: tuple[str, ...] = field(metadata=json_key("leaves"))
    running: bool
    reported: tuple[str, ...] = field(default=(), metadata=json_key("reports"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desired:
    """The objects and the targets on nodes that the reconciler must keep, as the ledger says."""

    objects: tuple[ReconciledObject, ...]
    nodes: Mapping[NodeTarget, LedgerEntry]

    @property
    def is_empty(self) -> bool:
        return not self.objects and not self.nodes

    @property
    def options(self) -> set[tuple[str, str]]:
        return {obj.option for obj in self.objects}

    def describe(
        self, known: set[tuple[str, str]], kept_nodes: set[NodeTarget], *, running: bool
    ) -> ReconcilerStatus:
        """Return the status if the reconciler has these options, and agents keep these targets."""
        kept = {value for name, value in known if name == "--page"}
        targets = [(obj.title, obj.option[1] in kept) for obj in self.objects if not obj.is_watched]
        targets += [(str(e.target), target in kept_nodes) for target, e in self.nodes.items()]
        return ReconcilerStatus(
            kept=tuple(title for title, is_kept in targets if is_kept),
            not_kept=tuple(title for title, is_kept in targets if not is_kept),
            running=running,
            reported=tuple(obj.title for obj in self.objects if obj.is_watched),
        )


def preview(cluster: Cluster) -> ReconcilerStatus:
    """Return what a reconciler would keep now. Writes nothing."""
    desired = _read_desired(build_engine(cluster))
    agents = _find_agents(cluster)
    reachable = {target for target in desired.nodes if target[0] in agents}
    return desired.describe(desired.options, reachable, running=False)


def install(cluster: Cluster, image: str | None, progress: Progress = SILENT) -> ReconcilerStatus:
    """Install the reconciler, or update it to match the ledger, and wait until it runs.

    Raises InputError if there is nothing to keep, UnfitError without an image.
    """
    engine = build_engine(cluster)
    desired = _read_desired(engine)
    if desired.is_empty:
        raise InputError(
            "there is nothing to keep: no fix is applied",
            next_step="mirror fix all --keep, or another fix's name",
        )
    existing = _get_deployment(cluster)
    image = image or (get_image(existing) if existing else None)
    if image is None:
        raise UnfitError(
            "no image for the reconciler",
            why="it is not taken from the mirror's namespace, whose editors could choose it",
            next_step="run `mirror up`, which records its image, or give --image REF",
        )
    _deploy(cluster, engine, desired.objects, image, progress)
    if desired.nodes:
        node_agent.ensure_agents(cluster, image, read_nodes(cluster), progress)
    kept = _sync_agents(cluster, engine, desired)
    return desired.describe(desired.options, kept, running=True)


def refresh(cluster: Cluster, progress: Progress = SILENT) -> None:
    """Update an installed reconciler to match the ledger; uninstall it if nothing is to be kept."""
    deployment = _try_get_deployment(cluster)
    if deployment is None:
        return
    engine = build_engine(cluster)
    desired = _read_desired(engine)
    if desired.is_empty:
        uninstall(cluster)
        return
    if read_options(deployment) != desired.options:
        _deploy(cluster, engine, desired.objects, get_image(deployment), progress)
    _sync_agents(cluster, engine, desired)


def refresh_agents(cluster: Cluster) -> None:
    """Update only the agents of an installed reconciler, after a change that was interrupted."""
    if _try_get_deployment(cluster):
        engine = build_engine(cluster)
        _sync_agents(cluster, engine, _read_desired(engine))


def uninstall(cluster: Cluster) -> tuple[str, ...]:
    """Remove the reconciler and its permissions. Returns what was removed, as KIND NAME."""
    node_agents.stop_agents(cluster, _find_agents(cluster))
    removed = []
    for kind, namespace, name in _list_objects(cluster):
        if cluster.delete(kind, name, namespace):
            removed.append(f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}")
    return tuple(removed)


def read_status(cluster: Cluster) -> ReconcilerStatus | None:
    """Return the state of the reconciler, or None if it is not installed."""
    deployment = _get_deployment(cluster)
    if deployment is None:
        return None
    desired = _read_desired(build_engine(cluster))
    agents = _find_agents(cluster) if desired.nodes else {}
    kept = node_agents.read_kept_targets(cluster, agents)
    return desired.describe(read_options(deployment), kept, running=is_running(deployment))


def select_objects(entries: Iterable[LedgerEntry]) -> tuple[ReconciledObject, ...]:
    """Return the objects of the API that fixes have changed, by the name of their entry."""
    fixes = load_fixes()
    objects = [
        _reconciled_object(entry.target)
        for entry in entries
        if isinstance(entry.target, ConfigMapKey | ObjectSpec) and entry.has_edit_of(fixes)
    ]
    return tuple(sorted(objects, key=lambda obj: obj.ledger_entry))


def _read_desired(engine: ChangeEngine) -> _Desired:
    entries = engine.entries()
    nodes = node_agents.select_node_entries(entries, load_fixes())
    return _Desired(objects=select_objects(entries), nodes=nodes)


def _reconciled_object(target: ConfigMapKey | ObjectSpec) -> ReconciledObject:
    resource = API_RESOURCES[target.kind]
    namespace = target.namespace or None
    return ReconciledObject(
        is_watched=_is_watched(target),
        title=str(target),
        ledger_entry=config_map_name(target),
        path=resource.path(namespace, target.name),
        group=resource.group,
        plural=resource.plural,
        name=target.name,
        namespace=namespace,
    )


def _is_watched(target: ConfigMapKey | ObjectSpec) -> bool:
    """Whether a target is only watched: writing it would decide what runs on nodes as root.

    A stolen token of the reconciler must not reach nodes through a DaemonSet, the node defaults,
    or the template from which calico-node writes the CNI's files.
    """
    if isinstance(target, ConfigMapKey):
        return target.name in {NODE_DEFAULTS_MAP, CALICO_CONFIG_MAP}
    return kind_name(target.kind) != "IPPool"


def _deploy(
    cluster: Cluster,
    engine: ChangeEngine,
    objects: tuple[ReconciledObject, ...],
    image: str,
    progress: Progress,
) -> None:
    mirror = None
    with suppress(ApiError):  # this user may not read the mirror
        mirror = cluster.get("StatefulSet", NAME, NAME)
    is_0_1 = has_0_1_modules(image, mirror, _get_deployment(cluster))
    manifests = render_reconciler_objects(
        image, objects, image_is_0_1=is_0_1, pull_secret=read_pull_secret(cluster)
    )
    permissions: set[Permission] = set()
    for obj in manifests:
        resource, namespace = API_RESOURCES[obj["kind"]].plural, obj["metadata"].get("namespace")
        permissions.update(list_permissions("get create patch delete", resource, namespace))
    engine.check_permissions((), permissions)
    progress.step("start the reconciler")
    explain_pull_secret(cluster, progress)
    generation = 0
    for obj in manifests:
        generation = cluster.apply(obj)["metadata"].get("generation", 0)
    _prune(cluster, manifests)
    wait_until(
        lambda: is_rolled_out(_get_deployment(cluster) or {}, generation),
        deadline=cluster.deadline.within(_START_SECONDS),
        what="the reconciler runs",
        why=lambda: _explain_pods(cluster),
        next_step=f"kubectl -n {SYSTEM_NAMESPACE} describe deployment {RECONCILER_NAME}; "
        "mirror fix --no-keep removes it",
    )


def _sync_agents(cluster: Cluster, engine: ChangeEngine, desired: _Desired) -> set[NodeTarget]:
    if not desired.nodes:
        return set()
    return node_agents.sync_agents(cluster, engine, load_fixes(), _find_agents(cluster))


def _find_agents(cluster: Cluster) -> Mapping[str, str]:
    """Return node → the agent's pod; nothing if this user may not list them."""
    try:
        return node_agent.find_running_agents(cluster, read_nodes(cluster))
    except MirrorError:
        return {}


def _get_deployment(cluster: Cluster) -> Object | None:
    return cluster.get("Deployment", RECONCILER_NAME, SYSTEM_NAMESPACE)


def _try_get_deployment(cluster: Cluster) -> Object | None:
    """Return the Deployment; None also for a user who may not see it and so did not create it."""
    try:
        return _get_deployment(cluster)
    except ApiError as error:
        if error.status == 403:
            return None
        raise


def _prune(cluster: Cluster, manifests: Iterable[Object]) -> None:
    """Delete roles and bindings that were needed for earlier targets."""
    current = {_key(obj["kind"], obj) for obj in manifests}
    for key in _list_objects(cluster):
        if key not in current:
            kind, namespace, name = key
            cluster.delete(kind, name, namespace)


def _list_objects(cluster: Cluster) -> list[tuple[str, str | None, str]]:
    """Return kind, namespace and name of every object of the reconciler."""
    keys: list[tuple[str, str | None, str]] = []
    for kind in _KINDS:
        try:
            objects = cluster.list(kind, labels=_LABELS)
        except ApiError as error:
            if error.status != 403:
                raise
            namespace = SYSTEM_NAMESPACE if API_RESOURCES[kind].namespaced else None
            obj = cluster.get(kind, RECONCILER_NAME, namespace)
            objects = [obj] if obj else []
        keys += [_key(kind, obj) for obj in objects]
    return keys


def _key(kind: str, obj: Object) -> tuple[str, str | None, str]:
    return kind, obj["metadata"].get("namespace"), get_name(obj)


def _explain_pods(cluster: Cluster) -> str:
    pods = cluster.list("Pod", SYSTEM_NAMESPACE, labels=_LABELS)
    return "\n".join(explain_pod(cluster, SYSTEM_NAMESPACE, get_name(p)) for p in pods)
