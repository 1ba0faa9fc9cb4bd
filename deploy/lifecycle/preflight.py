"""What must hold before `mirror up` writes anything. All that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.model import CLAIM_NAME
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError

# (verb, resource, in the mirror's namespace or else in the whole cluster)
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
    """What was found: every node, and those that are Ready."""

    version: str
    nodes: tuple[Object, ...]

    @property
    def ready_nodes(self) -> tuple[Object, ...]:
        return tuple(node for node in self.nodes if is_node_ready(node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What `up` is about to ask for."""

    namespace: str
    storage_class: str | None
    size: str
    node: str | None


def check_cluster(cluster: Cluster, requirements: Requirements) -> ClusterState:
    """Look at everything, change nothing.

    Raises the one thing that is wrong, or ClusterError with the list of them.
    """
    version = cluster.version()
    _raise(list(_rights(cluster, requirements.namespace)))
    nodes = tuple(cluster.list("Node"))
    ground = ClusterState(version=version, nodes=nodes)
    problems = [
        *_namespace(cluster, requirements),
        *_nodes(ground, requirements),
        *_storage(cluster, requirements),
    ]
    _raise(problems)
    return ground


def is_node_ready(node: Object) -> bool:
    """The kubelet's own word."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _raise(problems: list[MirrorError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ClusterError(
            f"{len(problems)} things are in the way",
            why="\n".join(str(problem) for problem in problems),
            next_step="; ".join(dict.fromkeys(p.next_step for p in problems if p.next_step)),
        )


def _rights(cluster: Cluster, namespace: str) -> Iterator[MirrorError]:
    def missing(right: tuple[str, str, bool]) -> str | None:
        verb, resource, inside = right
        if cluster.is_allowed(verb, resource, namespace if inside else None):
            return None
        return f"{verb} {resource}" + (f" in {namespace}" if inside else " in the whole cluster")

    with ThreadPoolExecutor(8) as pool:
        lacking = [one for one in pool.map(missing, REQUIRED_PERMISSIONS) if one]
    if lacking:
        yield ClusterError(
            f"context {cluster.context} lacks rights that `mirror up` needs",
            why="it may not: " + ", ".join(lacking),
            next_step="ask for them (docs/rights.md has a Role), or use another --context",
        )


def _namespace(cluster: Cluster, wanted: Requirements) -> Iterator[MirrorError]:
    found = cluster.get("Namespace", wanted.namespace)
    if found and found["metadata"].get("deletionTimestamp"):
        conditions = found.get("status", {}).get("conditions", [])
        held = [one["message"] for one in conditions if one.get("status") == "True"]
        yield ClusterError(
            f"namespace {wanted.namespace} is being deleted",
            why="; ".join(held) or f"since {found['metadata']['deletionTimestamp']}",
            next_step=f"wait: kubectl wait --for=delete namespace/{wanted.namespace} "
            "--timeout=2m, or choose another --namespace",
        )


def _nodes(ground: ClusterState, wanted: Requirements) -> Iterator[MirrorError]:
    names = [node["metadata"]["name"] for node in ground.nodes]
    if wanted.node is not None and wanted.node not in names:
        yield InputError(
            f"no node {wanted.node!r} in the cluster",
            why="it has: " + ", ".join(names),
            next_step="choose one of them with --node",
        )
    if not ground.ready_nodes:
        yield ClusterError(
            "no node is Ready",
            why="; ".join(f"{name}: NotReady" for name in names) or "the cluster has no nodes",
            next_step="kubectl describe nodes",
        )


def _storage(cluster: Cluster, wanted: Requirements) -> Iterator[MirrorError]:
    held = cluster.get("PersistentVolumeClaim", CLAIM_NAME, wanted.namespace)
    if held is not None:
        yield from _claim(cluster, held, wanted)
        return
    classes = cluster.list("StorageClass")
    names = [one["metadata"]["name"] for one in classes]
    listed = "it has: " + ", ".join(names) if names else "it has no storage class at all"
    enable = "MicroK8s: microk8s enable hostpath-storage"
    if wanted.storage_class is not None and wanted.storage_class not in names:
        yield ClusterError(
            f"no storage class {wanted.storage_class!r} in the cluster",
            why=listed,
            next_step="choose one with --storage-class" if names else enable,
        )
    if wanted.storage_class is None and not any(_is_default(one) for one in classes):
        yield ClusterError(
            "no default storage class in the cluster",
            why=listed,
            next_step="choose one with --storage-class" if names else enable,
        )


def _claim(cluster: Cluster, held: Object, wanted: Requirements) -> Iterator[MirrorError]:
    """What a volume claim cannot become."""
    spec = held["spec"]
    now = spec.get("storageClassName")
    where = f"{wanted.namespace}/{CLAIM_NAME}"
    if wanted.storage_class is not None and now != wanted.storage_class:
        yield RefusedError(
            f"volume claim {where} is of storage class {now}, not {wanted.storage_class}",
            why="a claim cannot change its class, and it holds the packages",
            next_step=f"leave --storage-class {now}, or `mirror down --purge` first",
        )
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM_NAME, "namespace": wanted.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": wanted.size}},
        },
    }
    if wanted.storage_class is not None:  # we gave it, and to leave it out would be to take it away
        claim["spec"]["storageClassName"] = wanted.storage_class
    try:
        cluster.apply(claim, dry_run=True)
    except ApiError as refusal:
        size = spec["resources"]["requests"]["storage"]
        yield RefusedError(
            f"volume claim {where} cannot go from {size} to {wanted.size}",
            why=refusal.why,
            next_step=f"leave it at --size {size}, or `mirror down --purge` first",
        )


def _is_default(one: Object) -> bool:
    return bool(one["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true")
