"""Check what must hold before `mirror up` writes anything, and report all problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.cluster.access import Permission, find_missing
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name, is_ready
from deploy.manifests.mirror_objects import render_claim
from deploy.manifests.model import CLAIM_NAME, ClusterSettings
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError

# (verb, resource, whether only in the mirror's namespace)
REQUIRED_PERMISSIONS: tuple[tuple[str, str, bool], ...] = (
    ("list", "nodes", False),
    ("get", "namespaces", False),
    ("patch", "namespaces", False),
    ("list", "storageclasses", False),
    *(
        (verb, resource, True)
        for resource in (
            "configmaps",
            "services",
            "persistentvolumeclaims",
            "networkpolicies",
            "statefulsets",
        )
        for verb in ("get", "patch", "create", "delete")
    ),
    *(("get", "secrets", True), ("create", "secrets", True)),
    *((verb, "pods", True) for verb in ("get", "list", "create", "delete")),
    *(("get", "pods/log", True), ("list", "events", True), ("create", "pods/portforward", True)),
)
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """The API server's version and the nodes, as the preflight check found them."""

    version: str
    nodes: tuple[Object, ...]

    @property
    def ready_nodes(self) -> tuple[Object, ...]:
        return tuple(node for node in self.nodes if is_ready(node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What `mirror up` is about to ask the cluster for."""

    namespace: str
    storage_class: str | None
    size: str
    node: str | None


def check_cluster(cluster: Cluster, requirements: Requirements) -> ClusterState:
    """Check permissions, namespace, nodes and storage; change nothing.

    Raises the problem if there is one, or a ClusterError that lists several.
    """
    version = cluster.version()
    _raise_problems(list(_find_missing_permissions(cluster, requirements.namespace)))
    state = ClusterState(version=version, nodes=tuple(cluster.list("Node")))
    _raise_problems(
        [
            *_check_namespace(cluster, requirements.namespace),
            *_check_nodes(state, requirements),
            *_check_storage(cluster, requirements),
        ]
    )
    return state


def _raise_problems(problems: list[MirrorError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ClusterError(
            f"{len(problems)} problems prevent `mirror up`",
            why="\n".join(str(problem) for problem in problems),
            next_step="; ".join(dict.fromkeys(p.next_step for p in problems if p.next_step)),
        )


def _find_missing_permissions(cluster: Cluster, namespace: str) -> Iterator[MirrorError]:
    permissions = [
        Permission(verb=verb, resource=resource, namespace=namespace if is_namespaced else None)
        for verb, resource, is_namespaced in REQUIRED_PERMISSIONS
    ]
    missing = find_missing(cluster, permissions)
    if missing:
        yield ClusterError(
            f"context {cluster.context} lacks permissions that `mirror up` needs",
            why="it may not: " + ", ".join(map(str, missing)),
            next_step="ask for them (docs/rights.md has a Role), or use another --context",
        )


def _check_namespace(cluster: Cluster, name: str) -> Iterator[MirrorError]:
    namespace = cluster.get("Namespace", name)
    if namespace and (since := namespace["metadata"].get("deletionTimestamp")):
        conditions = namespace.get("status", {}).get("conditions", [])
        blockers = [each["message"] for each in conditions if each.get("status") == "True"]
        yield ClusterError(
            f"namespace {name} is being deleted",
            why="; ".join(blockers) or f"since {since}",
            next_step=f"wait: kubectl wait --for=delete namespace/{name} --timeout=2m, "
            "or choose another --namespace",
        )


def _check_nodes(state: ClusterState, requirements: Requirements) -> Iterator[MirrorError]:
    names = [get_name(node) for node in state.nodes]
    if requirements.node is not None and requirements.node not in names:
        yield InputError(
            f"no node {requirements.node!r} in the cluster",
            why="it has: " + ", ".join(names),
            next_step="choose one of them with --node",
        )
    if not state.ready_nodes:
        yield ClusterError(
            "no node is Ready",
            why="; ".join(f"{name}: NotReady" for name in names) or "the cluster has no nodes",
            next_step="kubectl describe nodes",
        )


def _check_storage(cluster: Cluster, requirements: Requirements) -> Iterator[MirrorError]:
    claim = cluster.get("PersistentVolumeClaim", CLAIM_NAME, requirements.namespace)
    if claim is not None:
        yield from _check_claim_change(cluster, claim, requirements)
        return
    classes = cluster.list("StorageClass")
    names = [get_name(each) for each in classes]
    if requirements.storage_class is None:
        problem = "" if any(map(_is_default, classes)) else "no default storage class"
    else:
        name = requirements.storage_class
        problem = "" if name in names else f"no storage class {name!r}"
    if problem:
        yield ClusterError(
            f"{problem} in the cluster",
            why="it has: " + ", ".join(names) if names else "it has no storage class at all",
            next_step="choose one with --storage-class"
            if names
            else "MicroK8s: microk8s enable hostpath-storage",
        )


def _check_claim_change(
    cluster: Cluster, claim: Object, requirements: Requirements
) -> Iterator[MirrorError]:
    """Find the settings that an existing volume claim cannot be changed to."""
    title = f"{requirements.namespace}/{CLAIM_NAME}"
    current_class = claim["spec"].get("storageClassName")
    if requirements.storage_class not in (None, current_class):
        yield RefusedError(
            f"volume claim {title} is of storage class {current_class}, "
            f"not {requirements.storage_class}",
            why="the storage class of a claim cannot be changed, and the claim holds the packages",
            next_step=f"use --storage-class {current_class}, or `mirror down --purge` first",
        )
    # if we applied the storage class once, an apply without it would remove it
    settings = ClusterSettings(
        image="",
        namespace=requirements.namespace,
        size=requirements.size,
        storage_class=requirements.storage_class,
    )
    try:
        cluster.apply(render_claim(settings), dry_run=True)
    except ApiError as error:
        size = claim["spec"]["resources"]["requests"]["storage"]
        yield RefusedError(
            f"volume claim {title} cannot be resized from {size} to {requirements.size}",
            why=error.why,
            next_step=f"use --size {size}, or `mirror down --purge` first",
        )


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations", {})
    return bool(annotations.get(_DEFAULT_CLASS) == "true")
