"""`mirror warm`: a Job beside the mirror that goes on when the command has ended."""

from __future__ import annotations

from collections.abc import Iterator

from deploy import record
from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.manifests.jobs import WARM, order_map, warm_job
from deploy.manifests.model import NAME, ClusterSettings
from mirror.core.errors import MirrorError, RefusedError, UnfitError, WaitTimeout
from mirror.core.wait import until
from mirror.order import Order, Step, Warmed, last_told
from mirror.wheels import MACHINES

_SELECTOR = f"app.kubernetes.io/name={NAME},app.kubernetes.io/component={WARM}"
_LARGEST = 900 * 1024  # bytes of an order; a ConfigMap holds 1 MiB in all


def machines(cluster: Cluster) -> tuple[str, ...]:
    """The architectures of the nodes, as wheel tags name them."""
    told = {node["status"]["nodeInfo"]["architecture"] for node in cluster.list("Node")}
    return tuple(sorted(MACHINES[one] for one in told if one in MACHINES)) or ("x86_64",)


def start(cluster: Cluster, namespace: str, order: Order, at_once: int) -> str:
    """Start a Job, or find the one that does the same already; its name.

    One that has ended is made again: what is in the cache is not fetched again.
    """
    kept = record.read(cluster, namespace)
    held = cluster.get("StatefulSet", NAME, namespace)
    if kept.endpoint is None or held is None:
        raise UnfitError(
            f"no mirror runs in namespace {namespace} of context {cluster.context}",
            why="it has no StatefulSet " + NAME,
            next_step="mirror up (or name its namespace with --namespace)",
        )
    content = order.to_bytes()
    if len(content) > _LARGEST:
        raise RefusedError(
            f"too much for one warming: {len(order.wanted)} releases",
            why=f"the list has {len(content)} bytes, a ConfigMap holds {_LARGEST}",
            next_step="warm in parts: one lock at a time",
        )
    image = held["spec"]["template"]["spec"]["containers"][0]["image"]
    settings = ClusterSettings(image=image, namespace=namespace)
    name = f"{NAME}-warm-{order.mark}"
    now = cluster.get("Job", name, namespace)
    if now is not None and not _ended(now):
        return name
    if now is not None:
        cluster.delete("Job", name, namespace)
        until(
            lambda: cluster.get("Job", name, namespace) is None,
            deadline=cluster.deadline,
            what=f"the last run of Job {name} is gone",
        )
    listed = order_map(settings, name=name, content=content)
    cluster.apply(listed)
    job = warm_job(settings, name=name, index=kept.endpoint.url, at_once=at_once)
    try:
        made = cluster.create(job)
    except ApiRefusal as refusal:
        if refusal.status != 409:  # somebody started the same
            raise
        return name
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made["metadata"]["uid"]}
    listed["metadata"]["ownerReferences"] = [owner]
    cluster.apply(listed)
    return name


def newest(cluster: Cluster, namespace: str) -> str | None:
    """The Job that was started last."""
    jobs = cluster.list("Job", namespace, labels=_SELECTOR)
    if not jobs:
        return None
    last = max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))
    return str(last["metadata"]["name"])


def follow(cluster: Cluster, namespace: str, name: str) -> Iterator[Step | Warmed]:
    """How far it is, again and again; the last one is how it ended.

    Raises WaitTimeout at the deadline (the Job goes on), MirrorError where it failed.
    """
    said: Step | None = None

    def look() -> tuple[Step | Warmed] | None:
        job = cluster.get("Job", name, namespace)
        if job is None:
            raise MirrorError(
                f"Job {namespace}/{name} is gone",
                why="somebody deleted it, or it ended more than a day ago",
                next_step="run `mirror warm` again: what is there is not fetched again",
            )
        pods = cluster.list("Pod", namespace, labels=f"job-name={name}")
        pods.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        log = (
            cluster.logs(namespace, pods[-1]["metadata"]["name"], "probe", lines=2) if pods else ""
        )
        told = last_told(log)
        if isinstance(told, Warmed):
            return (told,)
        if _failed(job):
            why = explain_pod(cluster, namespace, pods[-1]["metadata"]["name"]) if pods else ""
            raise MirrorError(
                f"Job {namespace}/{name} failed",
                why=log.strip()[-600:] or why,
                next_step="mend what is said above and run `mirror warm` again",
            )
        return (told,) if told is not None and told != said else None

    while True:
        try:
            (now,) = until(look, deadline=cluster.deadline, what="the warming", ceiling=1.0)
        except WaitTimeout as late:
            raise WaitTimeout(
                f"Job {namespace}/{name} is still at work",
                why="the time of this command is over; the Job goes on",
                next_step="mirror warm --follow",
            ) from late
        yield now
        if isinstance(now, Warmed):
            return
        said = now


def _ended(job: Object) -> bool:
    status = job.get("status", {})
    return bool(status.get("completionTime")) or _failed(job)


def _failed(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(one["type"] == "Failed" and one["status"] == "True" for one in conditions)
