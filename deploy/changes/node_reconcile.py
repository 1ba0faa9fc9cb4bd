"""What is on nodes, kept by their agents: they are told what the ledger has of them.

Nobody may tell an agent to keep what somebody else undoes meanwhile. So a target's version is asked
first, then its entry is read, and the agent takes it only if it is of that version still: a
rollback before that has its entry pending, or gone, and one after that takes it out again.
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
    agent_target,
)
from deploy.cluster.client import Cluster
from deploy.evidence.node_agent import ask_agent
from deploy.manifests.agent import DESIRED_STATE_MAP
from mirror.core.errors import MirrorError
from mirror.snapshot import encode_content

NodeTarget = tuple[str, str]  # a node, and a path or setting there


def select_node_entries(
    entries: Iterable[LedgerEntry], fixes: Collection[str]
) -> dict[NodeTarget, LedgerEntry]:
    """What these fixes hold on nodes, but for what is being written."""
    return {
        (entry.target.node, agent_target(entry.target)): entry
        for entry in entries
        if isinstance(entry.target, NodeFile | NodeSysctl) and _holds(entry, fixes)
    }


def read_kept_targets(cluster: Cluster, pods: Mapping[str, str]) -> set[NodeTarget]:
    """All that the agents of these pods keep now."""
    return _kept(_asked(cluster, pods, {node: {"do": "seen", "targets": []} for node in pods}))


def sync_agents(
    cluster: Cluster, works: ChangeEngine, fixes: Collection[str], pods: Mapping[str, str]
) -> set[NodeTarget]:
    """Have them keep what these fixes hold, and nothing else; what they keep then."""
    before = select_node_entries(works.entries(), fixes)
    asked = {node: [place for at, place in before if at == node] for node in pods}
    seen = _asked(cluster, pods, {n: {"do": "seen", "targets": t} for n, t in asked.items()})
    entries = works.entries()  # after the versions
    held = select_node_entries(entries, fixes)
    orders = any(_is_orders(one) and _holds(one, fixes) for one in entries)
    told = {}
    for node, answer in seen.items():
        pages = [
            _page(place, held[node, place], version)
            for place, version in answer["versions"].items()
            if (node, place) in held
        ]
        told[node] = {"do": "keep", "pages": pages, "orders": orders}
    return _kept(_asked(cluster, pods, told))


def stop_agents(cluster: Cluster, pods: Mapping[str, str]) -> None:
    """Have them keep nothing. One that is not reached sees it by the mark in its pod."""
    _asked(cluster, pods, {node: {"do": "keep", "pages": [], "orders": False} for node in pods})


def _holds(entry: LedgerEntry, fixes: Collection[str]) -> bool:
    return not entry.pending and any(one.edit.fix in fixes for one in entry.edits)


def _is_orders(entry: LedgerEntry) -> bool:
    return isinstance(entry.target, ConfigMapKey) and entry.target.name == DESIRED_STATE_MAP


def _page(place: str, entry: LedgerEntry, version: str) -> dict[str, Any]:
    """As mirror.agent.reconcile takes it."""
    return {
        "target": place,
        "fixes": list(dict.fromkeys(one.edit.fix for one in entry.edits)),
        "base": encode_content(entry.base),
        "written": encode_content(entry.written),
        "seen": version,
    }


def _asked(
    cluster: Cluster, pods: Mapping[str, str], questions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Node → its agent's answer; without those that give none."""

    def one(node: str) -> Mapping[str, Any] | None:
        try:
            return ask_agent(cluster, pods[node], questions[node])
        except MirrorError:
            return None

    with ThreadPoolExecutor(8) as pool:
        told = dict(zip(questions, pool.map(one, questions), strict=True))
    return {node: answer for node, answer in told.items() if answer is not None}


def _kept(told: Mapping[str, Mapping[str, Any]]) -> set[NodeTarget]:
    return {(node, place) for node, answer in told.items() for place in answer["keeps"]}
