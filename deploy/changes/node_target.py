"""The driver for targets on nodes: files and kernel settings of hosts, through the node agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.changes.model import NodeFile, NodeSysctl, Target, agent_target
from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.client import Cluster
from deploy.cluster.websockets import websocket_permissions
from deploy.evidence.node_agent import ask_agent, ensure_agents
from deploy.evidence.nodes import read_nodes
from deploy.manifests.agent import SYSTEM_NAMESPACE
from mirror.core.errors import ClusterError
from mirror.snapshot import Snapshot, WriteConflict, encode_content


class NodeDriver:
    """Reads and writes through the agents' pods, which it finds, or starts, when first used."""

    def __init__(self, cluster: Cluster, image: Callable[[], str | None]) -> None:
        self._cluster, self._image = cluster, image
        self._pods: Mapping[str, str] | None = None  # node → the agent's pod

    def is_reachable(self, target: Target) -> bool:
        assert isinstance(target, NodeFile | NodeSysctl)
        return target.node in self._find_pods()

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        assert isinstance(target, NodeFile | NodeSysctl)
        return [
            *list_permissions("list", "nodes"),
            *list_permissions("list", "pods", SYSTEM_NAMESPACE),
            *websocket_permissions("exec", SYSTEM_NAMESPACE),
            *list_permissions("get create patch delete", "daemonsets", SYSTEM_NAMESPACE),
        ]

    def read(self, target: Target) -> Snapshot:
        return Snapshot.from_json(self._ask(target, {"do": "read"}))

    def write(
        self,
        target: Target,
        content: bytes | None,
        expected: Snapshot,
        metadata: str = "",
        *,
        force: bool = False,  # noqa: ARG002 - every difference can be written in place
    ) -> Snapshot:
        request = {
            "do": "write",
            "content": encode_content(content),
            "seen": expected.version,
            "frame": metadata,
        }
        return Snapshot.from_json(self._ask(target, request))

    def _ask(self, target: Target, request: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(target, NodeFile | NodeSysctl)
        request = {**request, "target": agent_target(target)}
        pod = self._find_pod(target.node)
        try:
            response = ask_agent(self._cluster, pod, request)
        except ClusterError:
            if not self._has_ended(pod):
                raise
            # evicted: a write that it finished counts as a conflict for the next agent, and the
            # engine then finds the target as intended
            self._pods = None
            response = ask_agent(self._cluster, self._find_pod(target.node), request)
        if "moved" in response:
            raise WriteConflict(str(target))
        return response

    def _has_ended(self, name: str) -> bool:
        pod = self._cluster.get("Pod", name, SYSTEM_NAMESPACE)
        return pod is None or "deletionTimestamp" in pod["metadata"]

    def _find_pod(self, node: str) -> str:
        pods = self._find_pods()
        if node not in pods:
            raise ClusterError(
                f"node {node} cannot be reached: no agent runs there",
                why="it is not Ready, is gone, or cannot start the agent's image",
                next_step=f"kubectl describe node {node}; then run this again",
            )
        return pods[node]

    def _find_pods(self) -> Mapping[str, str]:
        """Return the running agents; start them if somebody removed them."""
        if self._pods is None:
            nodes = read_nodes(self._cluster)
            running = ensure_agents(self._cluster, None, nodes)
            self._pods = running or ensure_agents(self._cluster, self._image(), nodes)
        return self._pods
