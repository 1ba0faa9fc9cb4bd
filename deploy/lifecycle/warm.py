"""`mirror warm`: fill the cache by a Job that continues when the command has ended."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import (
    format_selector,
    get_image,
    get_name,
    get_pull_secret,
    has_condition,
)
from deploy.cluster.pod_exec import run_in_pod
from deploy.lifecycle import connect
from deploy.manifests.jobs import WARM_COMPONENT, render_request_map, render_warm_job
from deploy.manifests.model import NAME, POD_NAME, ClusterSettings, build_selector
from deploy.manifests.pods import DATA_DIR
from mirror.core.errors import ClusterError, MirrorError, RefusedError, WaitTimeout
from mirror.core.wait import wait_until
from mirror.exemptions import ExemptionRequest
from mirror.warm.follow import follow_run
from mirror.warm.request import WarmProgress, WarmReport, WarmRequest, parse_latest_progress
from mirror.wheels import WHEEL_ARCHITECTURES

_SELECTOR = format_selector(build_selector(WARM_COMPONENT))
_MAX_REQUEST_BYTES = 900 * 1024  # a ConfigMap holds 1 MiB in all


def list_machines(cluster: Cluster) -> tuple[str, ...]:
    """The architectures of the nodes, as wheel tags name them."""
    architectures = {node["status"]["nodeInfo"]["architecture"] for node in cluster.list("Node")}
    known = architectures & WHEEL_ARCHITECTURES.keys()
    return tuple(sorted(WHEEL_ARCHITECTURES[each] for each in known)) or ("x86_64",)


def start_job(cluster: Cluster, namespace: str, request: WarmRequest, concurrency: int) -> str:
    """Start a Job for the request and return its name.

    A running Job for the same request is kept. One that has ended is replaced: files that are in
    the cache are not fetched again.
    """
    endpoint = connect.read_endpoint(cluster, namespace)
    stateful_set = cluster.get("StatefulSet", NAME, namespace)
    if stateful_set is None:
        raise connect.no_mirror_error(cluster, namespace, f"it has no StatefulSet {NAME}")
    content = request.to_bytes()
    if len(content) > _MAX_REQUEST_BYTES:
        raise RefusedError(
            f"too many releases for one warm run: {len(request.releases)}",
            why=f"the list has {len(content)} bytes; the maximum is {_MAX_REQUEST_BYTES}",
            next_step="warm one lock at a time",
        )
    name = f"{NAME}-warm-{request.digest}"
    job = cluster.get("Job", name, namespace)
    if job is not None:
        if not job.get("status", {}).get("completionTime") and not has_condition(job, "Failed"):
            return name
        cluster.delete("Job", name, namespace)
        wait_until(
            lambda: cluster.get("Job", name, namespace) is None,
            deadline=cluster.deadline,
            what=f"the last run of Job {name} is gone",
        )
    settings = ClusterSettings(
        image=get_image(stateful_set),
        namespace=namespace,
        pull_secret=get_pull_secret(stateful_set),
    )
    config_map = render_request_map(settings, name=name, content=content)
    cluster.apply(config_map)
    try:
        job = cluster.create(
            render_warm_job(settings, name=name, index_url=endpoint.url, concurrency=concurrency)
        )
    except ApiError as error:
        if error.status != 409:  # a Job for the same request was started in the meantime
            raise
        return name
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
    config_map["metadata"]["ownerReferences"] = [owner]
    cluster.apply(config_map)
    return name


def exempt_files(cluster: Cluster, namespace: str, request: ExemptionRequest) -> None:
    """Let the minimum age not hide the files of a lock: a program in the mirror's pod stores them.

    Only who may run programs in that pod can do so. Raises ClusterError.
    """
    argv = ("python3", "-m", "mirror.exemptions", "--data", str(DATA_DIR))
    exit_code, output, errors = run_in_pod(cluster, namespace, POD_NAME, argv, request.to_json())
    if exit_code:
        raise ClusterError(
            "the files of the lock cannot be exempt from the mirror's minimum age",
            why=(errors or output).strip()[-300:],
            next_step="mirror up   brings an image of this version",
        )


def find_newest_job(cluster: Cluster, namespace: str) -> str | None:
    """The name of the Job that was started last; None if there is none."""
    jobs = cluster.list("Job", namespace, labels=_SELECTOR)
    return get_name(max(jobs, key=_get_creation_time)) if jobs else None


def follow_job(cluster: Cluster, namespace: str, name: str) -> Iterator[WarmProgress | WarmReport]:
    """Yield the progress of a Job; the last item is its report.

    Raises WaitTimeout at the deadline (the Job continues), MirrorError if the Job failed.
    """
    title = f"Job {namespace}/{name}"

    def read_message() -> WarmProgress | WarmReport | None:
        job = cluster.get("Job", name, namespace)
        if job is None:
            raise MirrorError(
                f"{title} is gone",
                why="somebody deleted it, or it ended more than a day ago",
                next_step="run `mirror warm` again: stored files are not fetched again",
            )
        pods = cluster.list("Pod", namespace, labels=f"job-name={name}")
        newest = get_name(max(pods, key=_get_creation_time)) if pods else ""
        log = cluster.tail_log(namespace, newest, "probe", lines=2) if newest else ""
        message = parse_latest_progress(log)
        if not isinstance(message, WarmReport) and has_condition(job, "Failed"):
            raise MirrorError(
                f"{title} failed",
                why=log.strip()[-600:] or (newest and explain_pod(cluster, namespace, newest)),
                next_step="fix the cause above and run `mirror warm` again",
            )
        return message

    timeout_error = WaitTimeout(
        f"{title} is still running",
        why="this command timed out; the Job continues",
        next_step="mirror warm --follow",
    )
    return follow_run(
        read_message, deadline=cluster.deadline, max_interval=1.0, timeout_error=timeout_error
    )


def _get_creation_time(obj: Object) -> str:
    return str(obj["metadata"]["creationTimestamp"])
