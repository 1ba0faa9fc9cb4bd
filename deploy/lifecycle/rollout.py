"""Wait for the mirror's pod to become Ready, and fail early if it cannot."""

from __future__ import annotations

from collections.abc import Callable

from deploy.cluster.client import Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod
from deploy.cluster.objects import (
    IMAGE_REASONS,
    get_container_statuses,
    get_image,
    get_waiting_reasons,
    is_ready,
)
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME
from mirror.core.errors import UnfitError
from mirror.core.wait import wait_until

_MAX_RESTARTS = 3  # after this many restarts a container's failure is final


def delete_failed_pod(cluster: Cluster, namespace: str) -> None:
    """Delete the mirror's pod if one of its containers failed, so that it starts again at once.

    The kubelet would wait up to five minutes before the next restart, and this `mirror up` may
    have removed the cause.
    """
    pod = cluster.get("Pod", POD_NAME, namespace)
    if pod is None or is_ready(pod):
        return
    if any(_has_failed(status) for status in get_container_statuses(pod)):
        cluster.delete("Pod", POD_NAME, namespace, grace_seconds=0)


def wait_until_ready(cluster: Cluster, namespace: str) -> Object:
    """Return the mirror's pod once it is Ready and of the newest revision.

    Raises UnfitError as soon as it is clear that the pod cannot start, WaitTimeout at the deadline.
    """

    def explain() -> str:
        claim = explain_claim(cluster, namespace, CLAIM_NAME)
        return f"{claim}\n{explain_pod(cluster, namespace, POD_NAME)}".strip()

    def find_ready_pod() -> Object | None:
        stateful_set = cluster.get("StatefulSet", NAME, namespace)
        pod = cluster.get("Pod", POD_NAME, namespace)
        if stateful_set is None or pod is None or pod["metadata"].get("deletionTimestamp"):
            return None
        status = stateful_set.get("status", {})
        if status.get("observedGeneration") != stateful_set["metadata"]["generation"]:
            return None
        revision = pod["metadata"]["labels"].get("controller-revision-hash")
        if revision != status.get("updateRevision"):
            if not is_ready(pod):
                # a StatefulSet never replaces a pod that is not Ready
                cluster.delete("Pod", POD_NAME, namespace, grace_seconds=0)
            return None
        if is_ready(pod):
            return pod
        _check_can_start(cluster, pod, explain)
        return None

    return wait_until(
        find_ready_pod,
        deadline=cluster.deadline,
        what="the mirror's pod is Ready",
        why=explain,
        next_step="fix the cause above and run `mirror up` again; "
        f"kubectl -n {namespace} describe pod {POD_NAME}",
        max_interval=0.5,
    )


def _get_termination(status: Object) -> Object:
    """How the container ended last; empty if it never did."""
    last, state = status.get("lastState", {}), status["state"]
    return last.get("terminated") or state.get("terminated") or {}


def _has_failed(status: Object) -> bool:
    """Whether the container is not running because its last run failed."""
    return "running" not in status["state"] and bool(_get_termination(status).get("exitCode"))


def _check_can_start(cluster: Cluster, pod: Object, explain: Callable[[], str]) -> None:
    """Raise UnfitError if the pod cannot become Ready, so that waiting is pointless."""
    namespace = pod["metadata"]["namespace"]
    node = pod["spec"].get("nodeName", "?")
    waiting = get_waiting_reasons(pod)
    if not IMAGE_REASONS.isdisjoint(waiting.values()):
        raise UnfitError(
            f"node {node} does not have the image {get_image(pod)} and cannot pull it",
            why=explain(),
            next_step="deliver it: `mirror up --deliver METHOD` (docs/delivery.md), "
            "or name an image that the nodes can pull with --image",
        )
    for name, reason in waiting.items():
        if reason == "CreateContainerConfigError":
            raise _start_error(namespace, node, name, explain())
    for status in get_container_statuses(pod):
        name, termination = status["name"], _get_termination(status)
        if not termination.get("exitCode"):
            continue
        log = cluster.tail_log(namespace, POD_NAME, name, lines=20)
        if "exec format error" in log + str(termination.get("message", "")):
            raise UnfitError(
                f"the image is built for another architecture than that of node {node}",
                why=explain(),
                next_step="build it on a machine of that architecture, or choose a node: --node",
            )
        if name == "prepare" or status.get("restartCount", 0) >= _MAX_RESTARTS:
            _, marker, message = log.rpartition("error: ")
            raise _start_error(namespace, node, name, (marker and message.strip()) or explain())


def _start_error(namespace: str, node: str, container: str, why: str) -> UnfitError:
    return UnfitError(
        f"container {container} of the mirror cannot start on node {node}",
        why=why,
        next_step="fix the cause above and run `mirror up` again; "
        f"kubectl -n {namespace} logs {POD_NAME} -c {container}",
    )
