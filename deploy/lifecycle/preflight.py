"""Check what must hold before `mirror up` writes anything, and report all problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from deploy.cluster.access import Permission, find_missing, list_permissions
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import explain_unusable, get_name, is_ready
from deploy.cluster.websockets import websocket_permissions
from deploy.manifests.mirror_objects import render_claim
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME, ClusterSettings, new_object
from deploy.manifests.pods import render_stateful_set
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError

_NO_CLASS_STEP = "MicroK8s: microk8s enable hostpath-storage"
_BY_WEBHOOK = "admission webhook"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def list_required_permissions(namespace: str) -> tuple[Permission, ...]:
    """The permissions that `mirror up` needs, most of them in the mirror's namespace only."""
    configuration = ("configmaps", "services", "persistentvolumeclaims", "networkpolicies")
    return (
        *list_permissions("list", "nodes"),
        *list_permissions("get patch", "namespaces"),
        *list_permissions("list", "storageclasses"),
        *(
            permission
            for resource in (*configuration, "statefulsets")
            for permission in list_permissions("get patch create delete", resource, namespace)
        ),
        *list_permissions("get create", "secrets", namespace),
        *list_permissions("get list create delete", "pods", namespace),
        *list_permissions("get", "pods/log", namespace),
        *list_permissions("list", "events", namespace),
        *websocket_permissions("portforward", namespace),
    )


def check_cluster(cluster: Cluster, settings: ClusterSettings) -> tuple[Object, ...]:
    """Check permissions, namespace, nodes and storage, change nothing, and return usable nodes.

    Raises the problem if there is one, or a ClusterError that lists several.
    """
    _raise_problems(_find_missing_permissions(cluster, settings.namespace))
    everything = cluster.list("Node")
    others = {get_name(node): why for node in everything if (why := explain_unusable(node))}
    nodes = tuple(node for node in everything if get_name(node) not in others)
    _raise_problems(
        _check_namespace(cluster, settings.namespace),
        _check_nodes(nodes, others, settings.node),
        _check_storage(cluster, settings),
        _check_pull_secret(cluster, settings),
    )
    return nodes


def check_admission(cluster: Cluster, settings: ClusterSettings) -> None:
    """Create the mirror's pod in a dry run: limits, quotas and policies of the namespace apply.

    Raises RefusedError with the rule. Checks nothing if there is no namespace, or a pod already.
    """
    namespace = settings.namespace
    if cluster.get("Namespace", namespace) is None or cluster.get("Pod", POD_NAME, namespace):
        return
    stateful_set = render_stateful_set(replace(settings, image=settings.image or NAME), digest="")
    pod = new_object("v1", "Pod", POD_NAME, namespace)
    try:
        cluster.create(pod | {"spec": stateful_set["spec"]["template"]["spec"]}, dry_run=True)
    except ApiError as error:
        # a webhook may look at the image, which is not known yet
        if error.status != 403 or _BY_WEBHOOK in error.why:
            return
        raise RefusedError(
            f"namespace {namespace} does not admit the mirror's pod",
            why=error.why,
            next_step=f"kubectl -n {namespace} describe limitranges,resourcequotas shows the "
            "rules; ask for an exception, or choose another --namespace",
        ) from error


def _raise_problems(*checks: Iterable[MirrorError]) -> None:
    problems = list(chain(*checks))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ClusterError(
            f"{len(problems)} problems prevent `mirror up`",
            why="\n".join(str(problem) for problem in problems),
            next_step="; ".join(dict.fromkeys(p.next_step for p in problems if p.next_step)),
        )


def _find_missing_permissions(cluster: Cluster, namespace: str) -> Iterator[MirrorError]:
    missing = find_missing(cluster, list_required_permissions(namespace))
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


def _check_nodes(
    nodes: Sequence[Object], others: Mapping[str, str], chosen: str | None
) -> Iterator[MirrorError]:
    names = [get_name(node) for node in nodes]
    if chosen is not None and chosen in others:
        yield InputError(
            f"node {chosen!r} {others[chosen]}: the mirror cannot run there",
            why="nodes that can run it: " + ", ".join(names),
            next_step="choose one of them with --node",
        )
    elif chosen is not None and chosen not in names:
        yield InputError(
            f"no node {chosen!r} in the cluster",
            why="it has: " + ", ".join(names),
            next_step="choose one of them with --node",
        )
    if not any(map(is_ready, nodes)):
        yield ClusterError(
            "no node is Ready",
            why="; ".join(f"{name}: NotReady" for name in names) or "the cluster has no nodes",
            next_step="kubectl describe nodes",
        )


def _check_storage(cluster: Cluster, settings: ClusterSettings) -> Iterator[MirrorError]:
    claim = cluster.get("PersistentVolumeClaim", CLAIM_NAME, settings.namespace)
    if claim is not None:
        yield from _check_claim_change(cluster, claim, settings)
        return
    classes = cluster.list("StorageClass")
    names = [get_name(each) for each in classes]
    if settings.storage_class is None:
        annotations = [each["metadata"].get("annotations", {}) for each in classes]
        has_default = any(each.get(_DEFAULT_CLASS) == "true" for each in annotations)
        problem = "" if has_default else "no default storage class"
    else:
        name = settings.storage_class
        problem = "" if name in names else f"no storage class {name!r}"
    if problem:
        yield ClusterError(
            f"{problem} in the cluster",
            why="it has: " + ", ".join(names) if names else "it has no storage class at all",
            next_step="choose one with --storage-class" if names else _NO_CLASS_STEP,
        )


def _check_pull_secret(cluster: Cluster, settings: ClusterSettings) -> Iterator[MirrorError]:
    name, namespace = settings.pull_secret, settings.namespace
    if name is not None and cluster.get("Secret", name, namespace) is None:
        yield InputError(
            f"no Secret {name!r} in namespace {namespace}",
            why="--pull-secret names the Secret with which the nodes pull the image",
            next_step=f"kubectl -n {namespace} create secret docker-registry {name} "
            "--docker-server=REGISTRY --docker-username=USER --docker-password=PASSWORD",
        )


def _check_claim_change(
    cluster: Cluster, claim: Object, settings: ClusterSettings
) -> Iterator[MirrorError]:
    """Find the settings that an existing volume claim cannot be changed to."""
    title = f"{settings.namespace}/{CLAIM_NAME}"
    current_class = claim["spec"].get("storageClassName")
    if settings.storage_class not in (None, current_class):
        yield RefusedError(
            f"volume claim {title} is of storage class {current_class}, "
            f"not {settings.storage_class}",
            why="the storage class of a claim cannot be changed, and the claim holds the packages",
            next_step=f"use --storage-class {current_class}, or `mirror down --purge` first",
        )
        return  # the API server would call this a change of the size
    # if we applied the storage class once, an apply without it would remove it
    try:
        cluster.apply(render_claim(settings), dry_run=True)
    except ApiError as error:
        size = claim["spec"]["resources"]["requests"]["storage"]
        yield RefusedError(
            f"volume claim {title} cannot be resized from {size} to {settings.size}",
            why=error.why,
            next_step=f"use --size {size}, or `mirror down --purge` first",
        )
