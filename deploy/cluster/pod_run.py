"""Run programs in pods of our own, in parallel, on chosen nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object, temporary_objects
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import get_containers, get_image, get_image_id, get_name, is_stuck
from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until

_NETWORK_SECONDS = 6.0  # a pod normally has its network by then


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRun:
    """The result of a pod; ``exit_code`` is None if its program did not end, ``why`` says why.

    ``image`` is the one that the pod had in the end, ``image_id`` the digest that ran.
    """

    name: str
    node: str
    exit_code: int | None
    output: str
    why: str = ""
    image: str = ""
    image_id: str = ""

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0


def run_pods(
    cluster: Cluster,
    pods: Sequence[Object],
    deadline: Deadline,
    on_finished: Callable[[int], None] = lambda _: None,
    on_running: Callable[[str], None] = lambda _: None,
) -> list[PodRun]:
    """Run pods (one container, restartPolicy Never) in parallel to completion, then delete them.

    A pod that cannot start, or has not ended at the deadline, has an ``exit_code`` of None in its
    result; no error is raised for it. ``on_finished`` is called with the number of finished pods,
    ``on_running`` repeatedly with the name of each unfinished pod.
    """
    namespace = pods[0]["metadata"]["namespace"]
    results: dict[str, PodRun] = {}
    network_deadline = Deadline.after(_NETWORK_SECONDS)
    with temporary_objects(cluster, *pods):
        pods_by_name = {get_name(pod): pod for pod in pods}

        def check_pods() -> bool:
            for name in pods_by_name.keys() - results.keys():
                pod = cluster.get("Pod", name, namespace)
                result = _get_result(cluster, pod) if pod else None
                if result:
                    results[name] = result
                    on_finished(len(results))
                elif pod:
                    on_running(name)
            if network_deadline.expired:
                unfinished = pods_by_name.keys() - results.keys()
                for name in unfinished & _list_pods_without_network(cluster, namespace):
                    cause = "its network cannot be set up"
                    pod = pods_by_name[name]
                    results[name] = _build_result(cluster, pod, None, cause=cause)
            return len(results) == len(pods_by_name)

        with suppress(WaitTimeout):
            wait_until(check_pods, deadline=deadline, what="pods", max_interval=0.5)
        for name in pods_by_name.keys() - results.keys():
            pod = pods_by_name[name]
            results[name] = _build_result(cluster, pod, None, cause="did not end in time")
    return [results[get_name(pod)] for pod in pods]


def _get_result(cluster: Cluster, pod: Object) -> PodRun | None:
    """The result of a pod; None while its program may still end."""
    status = pod.get("status", {})
    if status.get("phase") in {"Succeeded", "Failed"}:
        terminated: Object = {}
        for container in status.get("containerStatuses", [])[:1]:
            terminated = container.get("state", {}).get("terminated", {})
        return _build_result(cluster, pod, terminated.get("exitCode"), lines=2000)
    return _build_result(cluster, pod, None) if is_stuck(pod) else None


def _build_result(
    cluster: Cluster, pod: Object, exit_code: int | None, *, cause: str = "", lines: int = 200
) -> PodRun:
    namespace, name = pod["metadata"]["namespace"], get_name(pod)
    why = "" if exit_code is not None else explain_pod(cluster, namespace, name)
    return PodRun(
        name=name,
        node=pod["spec"].get("nodeName", ""),
        exit_code=exit_code,
        output=cluster.tail_log(namespace, name, get_containers(pod)[0]["name"], lines=lines),
        why=f"{cause}\n{why}" if cause else why,
        image=get_image(pod),
        image_id=get_image_id(pod),
    )


def _list_pods_without_network(cluster: Cluster, namespace: str) -> set[str]:
    """Names of pods whose sandbox has failed repeatedly, so that waiting for them is pointless."""
    try:
        events = cluster.list("Event", namespace, fields="reason=FailedCreatePodSandBox")
    except ApiError:
        return set()
    failures: Counter[str] = Counter()
    for event in events:  # each names another sandbox, so the kubelet does not count them
        failures[event["involvedObject"]["name"]] += event.get("count") or 1
    return {name for name, count in failures.items() if count > 1}
