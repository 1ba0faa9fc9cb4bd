"""All fixes by name, the engine that knows every editor, and the state of what it has changed."""

from __future__ import annotations

from collections.abc import Mapping

import deploy.fixes
from deploy.changes import attachment
from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix
from deploy.changes.model import Editor, NodeFile, NodeSysctl
from deploy.changes.node_target import NodeDriver
from deploy.changes.state import FixState, read_states
from deploy.cluster.client import Cluster
from deploy.evidence.agent_image import read_agent_image
from deploy.evidence.fixes import FixStatus
from deploy.extensions import load_extensions


def load_fixes() -> Mapping[str, Fix]:
    """Return the fixes by name, in the order in which they apply."""
    modules = load_extensions(deploy.fixes)
    fixes = sorted((module.FIX for module in modules), key=lambda fix: fix.order)
    return {fix.name: fix for fix in fixes}


def load_editors() -> Mapping[str, Editor]:
    """Return everything that edits targets, by name: the fixes and `mirror attach`."""
    return {attachment.NAME: attachment.AttachmentEditor(), **load_fixes()}


def build_engine(
    cluster: Cluster, image: str | None = None, *, start_agents: bool = True
) -> ChangeEngine:
    """Return the engine with every editor.

    A target on a node starts the node agents if ``start_agents``: with ``image``, or the recorded
    one.
    """

    def find_image() -> str | None:
        if image or not start_agents:
            return image if start_agents else None
        recorded = read_agent_image(cluster)
        return recorded.reference if recorded else None

    driver = NodeDriver(cluster, find_image)
    return ChangeEngine(cluster, load_editors(), {NodeFile: driver, NodeSysctl: driver})


def read_fix_states(cluster: Cluster) -> tuple[FixState, ...]:
    """Return the state of every fix and of the attachments. Starts nothing."""
    return read_states(build_engine(cluster, start_agents=False), load_fixes())


def read_applied_fixes(cluster: Cluster) -> tuple[FixStatus, ...]:
    """Return the fixes that were applied, as evidence for `mirror doctor`. Starts nothing."""
    engine = build_engine(cluster, start_agents=False)
    return tuple(
        FixStatus(
            fix=state.fix,
            state=state.state,
            reapply_command=state.reapply_command,
            targets=tuple(target for target in state.targets if target.state != "applied"),
        )
        for state in read_states(engine, load_fixes())
        if state.state != "absent"
    )
