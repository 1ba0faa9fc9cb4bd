"""The client of the node agents: start them, send them requests, remove them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_containers, get_image, get_image_id, get_name
from deploy.cluster.pod_exec import run_in_pod
from deploy.evidence.agent_image import (
    explain_pull_secret,
    read_expected_ids,
    read_pull_secret,
    render_seen_ids,
)
from deploy.evidence.agent_users import list_other_users, register_user
from deploy.evidence.nodes import NodeState
from deploy.manifests.agent import (
    AGENT_COMMAND,
    AGENT_NAME,
    SYSTEM_NAMESPACE,
    render_agent_daemon_set,
)
from mirror.core.errors import ClusterError, UnfitError, WaitTimeout
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import wait_until

AGENT_LABELS = "app.kubernetes.io/name=pypi-mirror,app.kubernetes.io/component=node-agent"
_START_SECONDS = 60.0  # an image may have to be pulled first


def ensure_agents(
    cluster: Cluster, image: str | None, nodes: tuple[NodeState, ...], progress: Progress = SILENT
) -> Mapping[str, str]:
    """Return node → its agent's pod, without the nodes where no agent runs in time.

    With an ``image``, the DaemonSet is created or updated; without one it has to exist. A pod whose
    image has another digest than the recorded one counts as no agent.
    """
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if image and (daemon_set is None or get_image(daemon_set) != image):
        progress.step(f"start the node agent, privileged, on every node: image {image}")
        is_microk8s = any(node.distribution == "microk8s" for node in nodes)
        explain_pull_secret(cluster, progress)
        rendered = render_agent_daemon_set(
            image, microk8s=is_microk8s, pull_secret=read_pull_secret(cluster)
        )
        daemon_set = cluster.apply(rendered)
        if not register_user(cluster):  # the last user of the old ones has just removed them
            daemon_set = cluster.apply(rendered)
            register_user(cluster)
    elif daemon_set is None:
        return {}
    else:
        register_user(cluster)
    expected = read_expected_ids(cluster, daemon_set)
    reference = get_image(daemon_set)
    ready_nodes = {node.name for node in nodes if node.ready}
    agents: dict[str, str] = {}

    def all_run() -> bool:
        running, foreign = _list_agents(cluster, reference, expected)
        agents.update(running)
        if not running and not foreign:
            _refuse_if_not_created(cluster)
        return ready_nodes <= running.keys() | foreign.keys()

    deadline = cluster.deadline.within(_START_SECONDS)
    try:
        wait_until(all_run, deadline=deadline, what="the node agents")
    except WaitTimeout:
        progress.note(f"no node agent on {', '.join(sorted(ready_nodes - agents.keys()))}")
    if image and agents and not expected and "@" not in reference:
        _keep_seen_ids(cluster, reference)
    return {node: pod for node, pod in agents.items() if node in ready_nodes}


def _refuse_if_not_created(cluster: Cluster) -> None:
    """Raise UnfitError if the cluster refuses to create the agents' pods."""
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if daemon_set is None or cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS):
        return
    uid = daemon_set["metadata"].get("uid", "")
    fields = f"involvedObject.uid={uid},reason=FailedCreate"
    events = cluster.list("Event", SYSTEM_NAMESPACE, fields=fields)
    if events:
        raise UnfitError(
            "the cluster refuses the node agent's pods",
            why=str(events[-1].get("message", "")),
            next_step=f"they are privileged: allow them in {SYSTEM_NAMESPACE} (its label "
            "pod-security.kubernetes.io/enforce, an admission policy or webhook, or a quota, as "
            "the reason says); mirror fix dns and search-domains need no node agent",
        )


def find_running_agents(cluster: Cluster, nodes: tuple[NodeState, ...]) -> Mapping[str, str]:
    """Return Ready node → its agent's pod, without starting anything or waiting."""
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if daemon_set is None:
        return {}
    ready_nodes = {node.name for node in nodes if node.ready}
    running, _ = _list_agents(cluster, None, read_expected_ids(cluster, daemon_set))
    return {node: pod for node, pod in running.items() if node in ready_nodes}


def find_foreign_agents(cluster: Cluster) -> Mapping[str, str]:
    """Return node → why the agent there is not used: its image is not the recorded one."""
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if daemon_set is None:
        return {}
    return _list_agents(cluster, None, read_expected_ids(cluster, daemon_set))[1]


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
    when that node is back. They stay for other commands that use them, too; the last one removes
    them.
    """
    daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    if daemon_set is None or list_other_users(daemon_set):
        return ()
    failures = revert_node_defaults(cluster, stop=True)
    if failures and rolled_back:
        return failures
    while daemon_set is not None and not list_other_users(daemon_set):
        version = daemon_set["metadata"]["resourceVersion"]
        try:
            cluster.delete("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE, resource_version=version)
        except ApiError as error:
            if error.status != 409:
                raise
        daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
        if daemon_set is not None and "deletionTimestamp" in daemon_set["metadata"]:
            break
    return failures


def _list_agents(
    cluster: Cluster, image: str | None, expected: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return node → its agent's pod, and node → why its agent is not used.

    Only pods of ``image``, if given. ``expected`` are the digests that they may have; empty if none
    are known.
    """
    running, foreign = {}, {}
    for pod in cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS):
        if not _is_running(pod) or image not in (None, get_image(pod)):
            continue
        node, digest = pod["spec"]["nodeName"], get_image_id(pod)
        if expected and digest not in expected:
            foreign[node] = (
                f"its node agent is not from the recorded image: {get_image(pod)} is {digest}, "
                f"and recorded is {' or '.join(expected)}; if it is right, `mirror up` records it"
            )
        else:
            running[node] = get_name(pod)
    return running, foreign


def _keep_seen_ids(cluster: Cluster, image: str) -> None:
    """Store the digests of the first start, so that later starts are compared with them."""
    pods = cluster.list("Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS)
    ids = [get_image_id(pod) for pod in pods if _is_running(pod) and get_image(pod) == image]
    annotations = render_seen_ids(image, ids)
    body = {"metadata": {"annotations": annotations}}
    cluster.patch("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE, body)


def _is_running(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    runs = bool(statuses) and all("running" in status.get("state", {}) for status in statuses)
    return runs and "deletionTimestamp" not in pod["metadata"]
