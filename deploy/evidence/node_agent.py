"""The client of the node agents: start them, send them requests, remove them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import get_containers, get_image, get_name
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

AGENT_LABELS = "app.kubernetes.io/name=pypi-mirror,app.kubernetes.io/component=node-agent"
_START_SECONDS = 60.0  # an image may have to be pulled first


def ensure_agents(
    cluster: Cluster, image: str | None, nodes: tuple[NodeState, ...], progress: Progress = SILENT
) -> Mapping[str, str]:
    """Return node → its agent's pod, without the nodes where no agent runs in time.

    With an ``image``, the DaemonSet is created or updated; without one it has to exist.
    """
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if image and (daemon_set is None or get_image(daemon_set) != image):
        progress.step("start the node agent")
        is_microk8s = any(node.distribution == "microk8s" for node in nodes)
        cluster.apply(render_agent_daemon_set(image, microk8s=is_microk8s))
    elif daemon_set is None:
        return {}
    else:
        image = get_image(daemon_set)
    ready_nodes = {node.name for node in nodes if node.ready}
    agents: dict[str, str] = {}

    def all_run() -> bool:
        agents.update(_list_running(cluster, image))
        return ready_nodes <= agents.keys()

    deadline = cluster.deadline.within(_START_SECONDS)
    try:
        wait_until(all_run, deadline=deadline, what="the node agents")
    except WaitTimeout:
        progress.note(f"no node agent on {', '.join(sorted(ready_nodes - agents.keys()))}")
    return {node: pod for node, pod in agents.items() if node in ready_nodes}


def find_running_agents(cluster: Cluster, nodes: tuple[NodeState, ...]) -> Mapping[str, str]:
    """Return Ready node → its agent's pod, without starting anything or waiting."""
    ready_nodes = {node.name for node in nodes if node.ready}
    return {node: pod for node, pod in _list_running(cluster).items() if node in ready_nodes}


def ask_agent(cluster: Cluster, pod: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request to one agent. Raises ClusterError if it refuses or does not answer."""
    # the agent's own command ends with the CNI folder of its host
    agent = cluster.get("Pod", pod, SYSTEM_NAMESPACE)
    cni_dir = get_containers(agent)[0]["command"][-1] if agent else ""
    exit_code, output, errors = run_in_pod(
        cluster, SYSTEM_NAMESPACE, pod, [*AGENT_COMMAND, "--cni", cni_dir], json.dumps(request)
    )
    try:
        response: dict[str, Any] = json.loads(output)
    except ValueError:
        raise ClusterError(
            f"the node agent {SYSTEM_NAMESPACE}/{pod} failed with exit code {exit_code}",
            why=(errors or output).strip()[-600:],
        ) from None
    if "refused" in response:
        node = agent["spec"].get("nodeName", "") if agent else ""
        raise ClusterError(
            f"the agent on node {node} refused the request", why=str(response["refused"])
        )
    return response


def revert_node_defaults(cluster: Cluster, *, stop: bool = False) -> tuple[str, ...]:
    """Undo on every node what its node defaults changed, and return the failures.

    With ``stop``, the agents stop reconciling as well.
    """
    failures = []
    for pod in cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS):
        node = pod["spec"].get("nodeName", "")
        if not _is_running(pod):
            failures.append(f"{node}: its agent does not run")
            continue
        try:
            response = ask_agent(cluster, get_name(pod), {"do": "release", "end": stop})
            failures += [f"{node}: {failure}" for failure in response["failed"]]
        except ClusterError as error:
            failures.append(f"{node}: {error}")
    return tuple(failures)


def remove_agents(cluster: Cluster, *, rolled_back: bool) -> tuple[str, ...]:
    """Undo what the node defaults changed, then remove the agents; return the failures.

    After a rollback (``rolled_back``) that failed on a node, the agents stay: they undo the change
    when that node is back.
    """
    if cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
        return ()
    failures = revert_node_defaults(cluster, stop=True)
    if not (failures and rolled_back):
        cluster.delete("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    return failures


def _list_running(cluster: Cluster, image: str | None = None) -> dict[str, str]:
    """Return node → its agent's pod; only pods of ``image``, if given."""
    return {
        pod["spec"]["nodeName"]: get_name(pod)
        for pod in cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS)
        if _is_running(pod) and image in (None, get_image(pod))
    }


def _is_running(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    runs = bool(statuses) and all("running" in status.get("state", {}) for status in statuses)
    return runs and "deletionTimestamp" not in pod["metadata"]
