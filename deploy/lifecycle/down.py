"""`mirror down`: the processes go, the packages and the address stay; `--purge` takes all."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster
from deploy.lifecycle import publish
from deploy.manifests.jobs import WARM_COMPONENT
from deploy.manifests.model import (
    CA_MAP,
    CLAIM_NAME,
    NAME,
    POD_NAME,
    PROXY_MAP,
    RECORD_MAP,
    is_ours,
)
from deploy.registry import read_fix_states
from mirror.core.errors import RefusedError
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_RUNNING = (
    ("StatefulSet", NAME),
    ("NetworkPolicy", NAME),
    ("ConfigMap", PROXY_MAP),
)
_KEPT = (
    ("ConfigMap", CA_MAP),
    ("Service", NAME),
    ("PersistentVolumeClaim", CLAIM_NAME),
    ("Secret", NAME),
    ("ConfigMap", RECORD_MAP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """What was removed, as kind/name; empty where there was nothing."""

    removed: tuple[str, ...]
    withdrawn: tuple[str, ...]  # namespaces that held the environment ConfigMap
    purged: bool


def take_down(cluster: Cluster, namespace: str, *, purge: bool, progress: Progress) -> DownResult:
    """Remove the mirror. Without ``purge`` its packages, password, Service and record stay."""
    if purge:
        _refuse_while_applied(cluster)
    progress.step(f"stop the mirror in {namespace} (context {cluster.context})")
    withdrawn: tuple[str, ...] = ()
    removed = _delete(cluster, namespace, _RUNNING)
    wait_until(
        lambda: cluster.get("Pod", POD_NAME, namespace) is None,
        deadline=cluster.deadline,
        what="the mirror's pod has ended",
        next_step=f"kubectl -n {namespace} describe pod {POD_NAME}",
    )
    removed += _end_warmings(cluster, namespace)
    if purge:
        progress.step("remove packages, secrets and what was published")
        withdrawn = publish.withdraw_environment(cluster, namespace)
        removed += _delete(cluster, namespace, _KEPT)
        removed += _delete_namespace(cluster, namespace)
    return DownResult(removed=tuple(removed), withdrawn=withdrawn, purged=purge)


def _refuse_while_applied(cluster: Cluster) -> None:
    """What is not ours is put back first: the mirror's image is what proves and undoes it."""
    try:
        there = [state for state in read_fix_states(cluster) if state.state != "absent"]
    except ApiError as refusal:
        if refusal.status == 403:
            return  # who may not read the ledger has made none, and purging does not take it along
        raise
    if there:
        raise RefusedError(
            "not purged: changes to what is not the mirror's own are in place",
            why="; ".join(f"{state.fix} is {state.state}" for state in there),
            next_step="mirror rollback takes fixes back, mirror detach workloads; then purge again",
        )


def _end_warmings(cluster: Cluster, namespace: str) -> list[str]:
    """Jobs that fill a cache which nobody serves; their pods would keep the namespace."""
    try:
        jobs = cluster.list(
            "Job", namespace, labels=f"app.kubernetes.io/component={WARM_COMPONENT}"
        )
    except ApiError:
        return []  # without the right to see Jobs none was started by this user
    names = [str(job["metadata"]["name"]) for job in jobs if is_ours(job)]
    ended = [f"Job/{name}" for name in names if cluster.delete("Job", name, namespace)]
    if ended:
        wait_until(
            lambda: not cluster.list("Pod", namespace, labels=f"job-name in ({','.join(names)})"),
            deadline=cluster.deadline,
            what="the pods of the warmings have ended",
        )
    return ended


def _delete(cluster: Cluster, namespace: str, things: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{kind}/{name}" for kind, name in things if cluster.delete(kind, name, namespace)]


def _delete_namespace(cluster: Cluster, namespace: str) -> list[str]:
    """Only one that we made, and only where nobody else's pods live in it."""
    found = cluster.get("Namespace", namespace)
    if found is None or not is_ours(found):
        return []
    if cluster.list("Pod", namespace):
        return []
    cluster.delete("Namespace", namespace)
    wait_until(
        lambda: cluster.get("Namespace", namespace) is None,
        deadline=cluster.deadline,
        what=f"namespace {namespace} is gone",
        next_step=f"kubectl get namespace {namespace} -o yaml",
    )
    return [f"Namespace/{namespace}"]
