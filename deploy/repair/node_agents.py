"""Have the node agents keep what the ledger says about their nodes; remove idle agents.

An agent must not keep what a rollback undoes at the same time. So the version of each target is
read first, then its ledger entry, and the agent accepts the entry only if the target still has that
version. A rollback before that has made the entry pending or removed it; a rollback after that
makes the agent drop the target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import (
    ConfigMapKey,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    Target,
    agent_target,
)
from deploy.changes.seal import needs_seal
from deploy.cluster.client import Cluster
from deploy.evidence.node_agent import ask_agent, remove_agents, revert_node_defaults
from deploy.fix_registry import build_engine
from deploy.manifests.agent import AGENT_NAME, NODE_DEFAULTS_MAP, SYSTEM_NAMESPACE
from mirror.core.errors import MirrorError
from mirror.snapshot import encode_content

NodeTarget = tuple[str, str]  # a node, and a path or kernel setting there


def select_node_entries(
    entries: Iterable[LedgerEntry], fixes: Collection[str]
) -> dict[NodeTarget, LedgerEntry]:
    """Return the entries of these fixes on nodes, without those being written now."""
    return {
        (entry.target.node, agent_target(entry.target)): entry
        for entry in entries
        if isinstance(entry.target, NodeFile | NodeSysctl) and _is_applied(entry, fixes)
    }


def read_kept_targets(cluster: Cluster, pods: Mapping[str, str]) -> set[NodeTarget]:
    """Return everything that the agents keep now. ``pods`` maps each node to its agent's pod."""
    return _ask_all(cluster, pods, {node: {"do": "seen", "targets": []} for node in pods})[1]


def sync_agents(
    cluster: Cluster, engine: ChangeEngine, fixes: Collection[str], pods: Mapping[str, str]
) -> set[NodeTarget]:
    """Have the agents keep what these fixes changed, and nothing else. Returns what they keep."""
    recorded = select_node_entries(engine.entries(), fixes)
    requests = {
        node: {"do": "seen", "targets": [t for at, t in recorded if at == node]} for node in pods
    }
    responses, _ = _ask_all(cluster, pods, requests)
    entries = engine.entries()  # read after the versions, as the module's docstring explains
    recorded = select_node_entries(entries, fixes)
    has_defaults = any(
        _is_node_defaults(entry.target) and _is_applied(entry, fixes) for entry in entries
    )
    desired = {}
    for node, response in responses.items():
        pages = [
            _render_page(target, entry, version)
            for target, version in response["versions"].items()
            if (entry := recorded.get((node, target)))
        ]
        desired[node] = {"do": "keep", "pages": pages, "orders": has_defaults}
    return _ask_all(cluster, pods, desired)[1]


def stop_agents(cluster: Cluster, pods: Mapping[str, str]) -> None:
    """Have the agents keep nothing. An unreachable one learns it from a mounted ConfigMap."""
    _ask_all(cluster, pods, {node: {"do": "keep", "pages": [], "orders": False} for node in pods})


def remove_idle_agents(cluster: Cluster, *, rolled_back: bool = False) -> tuple[str, ...]:
    """Remove the node agents if no change needs them. Returns what they could not undo.

    ``rolled_back``: agents that keep running undo what the node defaults changed. Only the holder
    of the Lease removes them, so that nobody changes a node meanwhile.
    """
    engine = build_engine(cluster)
    entries = engine.entries()
    if not needs_agents(entries):
        if cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
            return ()
        with engine.hold_lease():
            if not needs_agents(engine.entries()):
                return remove_agents(cluster, rolled_back=rolled_back)
        return ()
    if rolled_back and not any(_is_node_defaults(entry.target) for entry in entries):
        revert_node_defaults(cluster)
    return ()


def needs_agents(entries: Iterable[LedgerEntry]) -> bool:
    """Return whether a change is on nodes, or its seal is at the agents' DaemonSet."""
    return any(
        isinstance(entry.target, NodeFile | NodeSysctl) or needs_seal(entry) for entry in entries
    )


def _is_applied(entry: LedgerEntry, fixes: Collection[str]) -> bool:
    return not entry.pending and entry.has_edit_of(fixes)


def _is_node_defaults(target: Target) -> bool:
    return isinstance(target, ConfigMapKey) and target.name == NODE_DEFAULTS_MAP


def _render_page(target: str, entry: LedgerEntry, version: str) -> dict[str, Any]:
    """Return the entry in the agent's protocol (mirror.agent.reconcile)."""
    return {
        "target": target,
        "fixes": list(dict.fromkeys(applied.edit.fix for applied in entry.edits)),
        "base": encode_content(entry.base),
        "written": encode_content(entry.written),
        "seen": version,
    }


def _ask_all(
    cluster: Cluster, pods: Mapping[str, str], requests: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Mapping[str, Any]], set[NodeTarget]]:
    """Ask in parallel. Returns node → response of those that respond, and all they keep."""

    def ask(node: str) -> Mapping[str, Any] | None:
        try:
            return ask_agent(cluster, pods[node], requests[node])
        except MirrorError:
            return None

    with ThreadPoolExecutor(8) as pool:
        answers = zip(requests, pool.map(ask, requests), strict=True)
        responses = {node: response for node, response in answers if response is not None}
    kept = {(node, target) for node, response in responses.items() for target in response["keeps"]}
    return responses, kept
