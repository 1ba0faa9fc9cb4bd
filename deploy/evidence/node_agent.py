"""The node agent from outside: started where it is needed, asked, ended when nothing needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploy.cluster.client import Cluster, Object
from deploy.cluster.pod_exec import run_in_pod
from deploy.evidence.nodes import NodeState
from deploy.manifests.agent import (
    AGENT_COMMAND,
    AGENT_NAME,
    SYSTEM_NAMESPACE,
    render_agent_daemon_set,
)
from mirror.core.errors import ClusterError, WaitTimeout
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import wait_until

_SECONDS = 60.0  # for the agents to run: an image may have to be pulled first
AGENT_LABELS = "app.kubernetes.io/name=pypi-mirror,app.kubernetes.io/component=node-agent"


def ensure_agents(
    cluster: Cluster, image: str | None, nodes: tuple[NodeState, ...], progress: Progress = SILENT
) -> Mapping[str, str]:
    """Node → the agent's pod there, once it runs; a node where it does not run is left out.

    With an image the DaemonSet is made, or brought to it; without one it has to be there.
    """
    held = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if image and (held is None or _image(held) != image):
        progress.step("start the node agent")
        micro = any(node.distribution == "microk8s" for node in nodes)
        cluster.apply(render_agent_daemon_set(image, microk8s=micro))
    elif held is None:
        return {}
    ready = {node.name for node in nodes if node.ready}
    wanted = image or _image(held or {})
    found: dict[str, str] = {}

    def look() -> bool:
        found.update(_running(cluster, wanted))
        return ready <= found.keys()

    try:
        wait_until(look, deadline=cluster.deadline.within(_SECONDS), what="the node agents")
    except WaitTimeout:
        progress.note(f"no node agent on {', '.join(sorted(ready - found.keys()))}")
    return {node: pod for node, pod in found.items() if node in ready}


def find_running_agents(cluster: Cluster, nodes: tuple[NodeState, ...]) -> Mapping[str, str]:
    """Ready node → the agent's pod that runs there now; nothing is started, nobody waits."""
    ready = {node.name for node in nodes if node.ready}
    return {node: pod for node, pod in _running(cluster).items() if node in ready}


def ask_agent(cluster: Cluster, pod: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """One question to one agent. Raises ClusterError where it does not answer, or refuses."""
    line = json.dumps(request)
    # the place of the host's folders is in the command of the pod itself
    found = cluster.get("Pod", pod, SYSTEM_NAMESPACE)
    cni = found["spec"]["containers"][0]["command"][-1] if found else ""
    code, out, err = run_in_pod(
        cluster, SYSTEM_NAMESPACE, pod, [*AGENT_COMMAND, "--cni", cni], line
    )
    try:
        told: dict[str, Any] = json.loads(out)
    except ValueError:
        raise ClusterError(
            f"the node agent {SYSTEM_NAMESPACE}/{pod} failed ({code})",
            why=(err or out).strip()[-600:],
        ) from None
    if "refused" in told:
        node = found["spec"].get("nodeName", "") if found else ""
        raise ClusterError(f"the agent on node {node} refused", why=str(told["refused"]))
    return told


def revert_desired_state(cluster: Cluster, *, stop: bool = False) -> tuple[str, ...]:
    """Undo what standing orders did. What could not be, in words. ``end``: nothing is kept then."""
    failed = []
    for pod in cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS):
        node = pod["spec"].get("nodeName", "")
        if not _runs(pod):
            failed.append(f"{node}: its agent does not run")
            continue
        try:
            told = ask_agent(cluster, pod["metadata"]["name"], {"do": "release", "end": stop})
            failed += [f"{node}: {one}" for one in told["failed"]]
        except ClusterError as broken:
            failed.append(f"{node}: {broken}")
    return tuple(failed)


def remove_agents(cluster: Cluster, *, rolled_back: bool) -> tuple[str, ...]:
    """End the agents; what standing orders did is undone first. What could not be, in words.

    ``undone``: fixes were rolled back, so the agents stay where a node could not be reached: they
    undo it there when it is back.
    """
    if cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
        return ()
    failed = revert_desired_state(cluster, stop=True)
    if not (failed and rolled_back):
        cluster.delete("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    return failed


def _running(cluster: Cluster, image: str | None = None) -> dict[str, str]:
    """Node → the agent's pod; of this image, where one is given."""
    return {
        pod["spec"]["nodeName"]: pod["metadata"]["name"]
        for pod in cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS)
        if _runs(pod) and image in (None, pod["spec"]["containers"][0]["image"])
    }


def _runs(pod: Object) -> bool:
    states = pod.get("status", {}).get("containerStatuses", [])
    alive = bool(states) and all("running" in one.get("state", {}) for one in states)
    return alive and "deletionTimestamp" not in pod["metadata"]


def _image(daemon: Object) -> str:
    return str(daemon["spec"]["template"]["spec"]["containers"][0]["image"])
