"""Programs run in pods of our own, on the nodes we choose, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object, temporary_objects
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import get_containers, is_stuck
from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until

_STARTED = 6.0  # seconds in which a pod normally has its network


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRun:
    """How one pod ended. ``code`` is None where its program never ran to an end, then ``why``."""

    name: str
    node: str
    exit_code: int | None
    output: str
    why: str = ""

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
    """Run pods (one container, restartPolicy Never) side by side to their ends, then delete them.

    A pod that has not ended at the deadline, or whose image cannot be had, gives a PodRun with
    ``code`` None and the explanation; nothing is raised for it. ``told`` is given how many have
    ended, ``seen`` the name of each pod that has not, again and again.
    """
    namespace = pods[0]["metadata"]["namespace"]
    ended: dict[str, PodRun] = {}
    begun = Deadline.after(_STARTED)
    with temporary_objects(cluster, *pods):
        wanted = {pod["metadata"]["name"]: pod for pod in pods}

        def look() -> bool:
            for name in wanted.keys() - ended.keys():
                pod = cluster.get("Pod", name, namespace)
                run = _ended(cluster, pod) if pod else None
                if run:
                    ended[name] = run
                    on_finished(len(ended))
                elif pod:
                    on_running(name)
            if begun.expired:
                for name in _without_network(cluster, namespace) & (wanted.keys() - ended.keys()):
                    ended[name] = _not_run(cluster, wanted[name], "its network cannot be made")
            return len(ended) == len(wanted)

        with suppress(WaitTimeout):
            wait_until(look, deadline=deadline, what="pods", max_interval=0.5)
        for name in wanted.keys() - ended.keys():
            ended[name] = _not_run(cluster, wanted[name], "not ended in time")
    return [ended[pod["metadata"]["name"]] for pod in pods]


def _ended(cluster: Cluster, pod: Object) -> PodRun | None:
    meta, status = pod["metadata"], pod.get("status", {})
    node = pod["spec"].get("nodeName", "")
    if status.get("phase") in {"Succeeded", "Failed"}:
        states = [one.get("state", {}) for one in status.get("containerStatuses", [])]
        codes = [state.get("terminated", {}).get("exitCode") for state in states]
        code = codes[0] if codes else None
        out = cluster.tail_log(meta["namespace"], meta["name"], _container(pod), lines=2000)
        why = "" if code is not None else explain_pod(cluster, meta["namespace"], meta["name"])
        return PodRun(name=meta["name"], node=node, exit_code=code, output=out, why=why)
    if is_stuck(pod):
        why = explain_pod(cluster, meta["namespace"], meta["name"])
        return PodRun(name=meta["name"], node=node, exit_code=None, output="", why=why)
    return None


def _not_run(cluster: Cluster, pod: Object, cause: str) -> PodRun:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    return PodRun(
        name=name,
        node=pod["spec"].get("nodeName", ""),
        exit_code=None,
        output=cluster.tail_log(namespace, name, _container(pod)),
        why=f"{cause}\n" + explain_pod(cluster, namespace, name),
    )


def _without_network(cluster: Cluster, namespace: str) -> set[str]:
    """Pods whose sandbox has failed more than once: waiting for them is of no use."""
    try:
        events = cluster.list("Event", namespace, fields="reason=FailedCreatePodSandBox")
    except ApiError:
        return set()
    failures: dict[str, int] = {}
    for one in events:  # each names another sandbox, so they are not counted by the kubelet
        name = one["involvedObject"]["name"]
        failures[name] = failures.get(name, 0) + (one.get("count") or 1)
    return {name for name, times in failures.items() if times > 1}


def _container(pod: Object) -> str:
    return str(get_containers(pod)[0]["name"])
