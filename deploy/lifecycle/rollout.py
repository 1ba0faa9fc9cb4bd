"""Waiting for the mirror's pod: until it is Ready, or until it is plain that it will not be."""

from __future__ import annotations

from collections.abc import Callable

from deploy.cluster.client import Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod, waiting_reasons
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME
from mirror.core.errors import UnfitError
from mirror.core.wait import wait_until

_PATIENCE = 3  # restarts of a container before its end is taken for final
_IMAGE = {
    "CreateContainerConfigError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
}


def delete_failed_pod(cluster: Cluster, namespace: str) -> None:
    """End a pod that failed before: the kubelet would wait up to five minutes, and what it failed
    of may be mended by now."""
    pod = cluster.get("Pod", POD_NAME, namespace)
    if pod is not None and not _is_ready(pod) and any(_ended_badly(one) for one in _statuses(pod)):
        cluster.delete("Pod", POD_NAME, namespace, grace_seconds=0)


def wait_until_ready(cluster: Cluster, namespace: str) -> Object:
    """The mirror's pod, of the newest revision and Ready; or why not."""

    def why() -> str:
        parts = (
            explain_claim(cluster, namespace, CLAIM_NAME),
            explain_pod(cluster, namespace, POD_NAME),
        )
        return "\n".join(part for part in parts if part)

    def look() -> Object | None:
        held = cluster.get("StatefulSet", NAME, namespace)
        pod = cluster.get("Pod", POD_NAME, namespace)
        if held is None or pod is None or pod["metadata"].get("deletionTimestamp"):
            return None
        status = held.get("status", {})
        if status.get("observedGeneration") != held["metadata"]["generation"]:
            return None
        revision = pod["metadata"]["labels"].get("controller-revision-hash")
        ready = _is_ready(pod)
        if revision != status.get("updateRevision"):
            if not ready:
                # a StatefulSet waits for ever for a broken pod before it replaces it
                cluster.delete("Pod", POD_NAME, namespace, grace_seconds=0)
            return None
        if not ready:
            _hopeless(cluster, pod, why)
        return pod if ready else None

    return wait_until(
        look,
        deadline=cluster.deadline,
        what="the mirror's pod is Ready",
        why=why,
        next_step=f"mend what is said above and run `mirror up` again; "
        f"kubectl -n {namespace} describe pod {POD_NAME}",
        max_interval=0.5,
    )


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _ended_badly(one: Object) -> bool:
    ended = one.get("lastState", {}).get("terminated") or one["state"].get("terminated")
    return "running" not in one["state"] and bool(ended) and ended.get("exitCode") != 0


def _hopeless(cluster: Cluster, pod: Object, why: Callable[[], str]) -> None:
    """Raise as soon as waiting cannot help."""
    reasons = set(waiting_reasons(pod).values())
    node = pod["spec"].get("nodeName", "?")
    if reasons & _IMAGE:
        image = pod["spec"]["containers"][0]["image"]
        raise UnfitError(
            f"node {node} does not have the image {image} and cannot pull it",
            why=why(),
            next_step="deliver it: `mirror up --deliver WAY` (docs/delivery.md), "
            "or give one that the nodes can pull with --image",
        )
    for one in _statuses(pod):
        ended = one.get("lastState", {}).get("terminated") or one["state"].get("terminated")
        if not ended or ended.get("exitCode") == 0:
            continue
        log = cluster.tail_log(pod["metadata"]["namespace"], POD_NAME, one["name"], lines=20)
        if "exec format error" in log + str(ended.get("message", "")):
            raise UnfitError(
                f"the image is made for another architecture than node {node}",
                why=why(),
                next_step="build it on a machine of that architecture, or choose a node: --node",
            )
        if one["name"] == "prepare" or one.get("restartCount", 0) >= _PATIENCE:
            raise UnfitError(
                f"container {one['name']} of the mirror cannot start on node {node}",
                why=_last_error(log) or why(),
                next_step=f"mend it and run `mirror up` again; "
                f"kubectl -n {pod['metadata']['namespace']} logs {POD_NAME} -c {one['name']}",
            )


def _last_error(log: str) -> str:
    _, found, told = log.rpartition("error: ")
    return told.strip() if found else ""
