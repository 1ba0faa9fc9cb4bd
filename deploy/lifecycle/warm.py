"""`mirror warm`: a Job beside the mirror that goes on when the command has ended."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.lifecycle import record
from deploy.manifests.jobs import WARM_COMPONENT, render_request_map, render_warm_job
from deploy.manifests.model import NAME, ClusterSettings
from mirror.core.errors import MirrorError, RefusedError, UnfitError, WaitTimeout
from mirror.core.wait import wait_until
from mirror.warm.request import WarmProgress, WarmReport, WarmRequest, parse_latest_progress
from mirror.wheels import WHEEL_ARCHITECTURES

_SELECTOR = f"app.kubernetes.io/name={NAME},app.kubernetes.io/component={WARM_COMPONENT}"
_LARGEST = 900 * 1024  # bytes of an order; a ConfigMap holds 1 MiB in all


def list_machines(cluster: Cluster) -> tuple[str, ...]:
    """The architectures of the nodes, as wheel tags name them."""
    told = {node["status"]["nodeInfo"]["architecture"] for node in cluster.list("Node")}
    return tuple(
        sorted(WHEEL_ARCHITECTURES[one] for one in told if one in WHEEL_ARCHITECTURES)
    ) or ("x86_64",)


def start_job(cluster: Cluster, namespace: str, request: WarmRequest, concurrency: int) -> str:
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
    content = request.to_bytes()
    if len(content) > _LARGEST:
        raise RefusedError(
            f"too much for one warming: {len(request.wanted)} releases",
            why=f"the list has {len(content)} bytes, a ConfigMap holds {_LARGEST}",
            next_step="warm in parts: one lock at a time",
        )
    image = held["spec"]["template"]["spec"]["containers"][0]["image"]
    settings = ClusterSettings(image=image, namespace=namespace)
    name = f"{NAME}-warm-{request.digest}"
    now = cluster.get("Job", name, namespace)
    if now is not None and not _ended(now):
        return name
    if now is not None:
        cluster.delete("Job", name, namespace)
        wait_until(
            lambda: cluster.get("Job", name, namespace) is None,
            deadline=cluster.deadline,
            what=f"the last run of Job {name} is gone",
        )
    listed = render_request_map(settings, name=name, content=content)
    cluster.apply(listed)
    job = render_warm_job(settings, name=name, index_url=kept.endpoint.url, concurrency=concurrency)
    try:
        made = cluster.create(job)
    except ApiError as refusal:
        if refusal.status != 409:  # somebody started the same
            raise
        return name
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made["metadata"]["uid"]}
    listed["metadata"]["ownerReferences"] = [owner]
    cluster.apply(listed)
    return name


def find_newest_job(cluster: Cluster, namespace: str) -> str | None:
    """The Job that was started last."""
    jobs = cluster.list("Job", namespace, labels=_SELECTOR)
    if not jobs:
        return None
    last = max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))
    return str(last["metadata"]["name"])


def follow_job(cluster: Cluster, namespace: str, name: str) -> Iterator[WarmProgress | WarmReport]:
    """How far it is, again and again; the last one is how it ended.

    Raises WaitTimeout at the deadline (the Job goes on), MirrorError where it failed.
    """
    said: WarmProgress | None = None

    def look() -> tuple[WarmProgress | WarmReport] | None:
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
            cluster.tail_log(namespace, pods[-1]["metadata"]["name"], "probe", lines=2)
            if pods
            else ""
        )
        told = parse_latest_progress(log)
        if isinstance(told, WarmReport):
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
            (now,) = wait_until(
                look, deadline=cluster.deadline, what="the warming", max_interval=1.0
            )
        except WaitTimeout as late:
            raise WaitTimeout(
                f"Job {namespace}/{name} is still at work",
                why="the time of this command is over; the Job goes on",
                next_step="mirror warm --follow",
            ) from late
        yield now
        if isinstance(now, WarmReport):
            return
        said = now


def _ended(job: Object) -> bool:
    status = job.get("status", {})
    return bool(status.get("completionTime")) or _failed(job)


def _failed(job: Object) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(one["type"] == "Failed" and one["status"] == "True" for one in conditions)
