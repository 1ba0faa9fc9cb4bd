"""The hand on nodes: files and network settings of hosts, through the node agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.changes.model import (
    Held,
    Moved,
    NodeFile,
    NodeSysctl,
    Right,
    Target,
    place_on_node,
)
from deploy.cluster.client import Cluster
from deploy.evidence.collect import read_nodes
from deploy.evidence.hosts import ask, ensure
from deploy.manifests.agent import HOME
from mirror.agent.content import as_bytes, as_text
from mirror.core.errors import ClusterError


class NodeHand:
    """Reads and writes by the agent's pods, which it finds, or starts with an image, when it is
    first used.
    """

    def __init__(self, cluster: Cluster, image: Callable[[], str | None]) -> None:
        self._cluster, self._image = cluster, image
        self._pods: Mapping[str, str] | None = None

    def reaches(self, target: Target) -> bool:
        assert isinstance(target, NodeFile | NodeSysctl)
        return target.node in self._running()

    def rights(self, target: Target) -> Sequence[Right]:
        assert isinstance(target, NodeFile | NodeSysctl)
        return [
            Right(verb="list", resource="nodes"),
            Right(verb="list", resource="pods", namespace=HOME),
            Right(verb="create", resource="pods/exec", namespace=HOME),
            *(
                Right(verb=verb, resource="daemonsets", namespace=HOME)
                for verb in ("get", "create", "patch", "delete")
            ),
        ]

    def read(self, target: Target) -> Held:
        return self._held(self._ask(target, {"do": "read"}))

    def write(self, target: Target, content: bytes | None, seen: Held, frame: str = "") -> Held:
        question = {
            "do": "write",
            "content": as_text(content),
            "seen": seen.version,
            "frame": frame,
        }
        return self._held(self._ask(target, question))

    def _ask(self, target: Target, question: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(target, NodeFile | NodeSysctl)
        asked = {**question, "target": place_on_node(target)}
        told = ask(self._cluster, self._pod(target.node), asked)
        if "moved" in told:
            raise Moved(str(target))
        return told

    def _pod(self, node: str) -> str:
        pods = self._running()
        if node not in pods:
            raise ClusterError(
                f"node {node} cannot be reached: no agent runs there",
                why="it is not Ready, is gone, or cannot start the agent's image",
                next_step=f"kubectl describe node {node}; then run this again",
            )
        return pods[node]

    def _running(self) -> Mapping[str, str]:
        """The agents that run; started where somebody took them away."""
        if self._pods is None:
            nodes = read_nodes(self._cluster)
            found = ensure(self._cluster, None, nodes)
            self._pods = found or ensure(self._cluster, self._image(), nodes)
        return self._pods

    @staticmethod
    def _held(told: Mapping[str, Any]) -> Held:
        return Held(
            content=as_bytes(told["content"]),
            version=told["version"],
            frame=told["frame"],
        )
