"""How the fixes stand: what there is, the engine that knows all of them, and what came undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import deploy.fixes
from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Fix, NodeFile, NodeSysctl
from deploy.changes.node_target import NodeDriver
from deploy.changes.state import FixState, read_states
from deploy.cluster.client import Cluster
from deploy.evidence.fixes import FixStatus, TargetStatus
from deploy.extensions import load_extensions


def load_all_fixes() -> Mapping[str, Fix]:
    """Whatever changes what is not ours, by name, in the order in which it is made."""
    found = sorted((part.FIX for part in load_extensions(deploy.fixes)), key=lambda fix: fix.order)
    return {fix.name: fix for fix in found}


def load_fixes() -> Mapping[str, Fix]:
    """The fixes of `mirror fix` by name."""
    return {name: fix for name, fix in load_all_fixes().items() if fix.command == "fix"}


def build_engine(cluster: Cluster, image: Callable[[], str | None] = lambda: None) -> ChangeEngine:
    """The engine with every fix there is; ``image`` is the node agent's, should it be started."""
    hand = NodeDriver(cluster, image)
    return ChangeEngine(cluster, load_all_fixes(), {NodeFile: hand, NodeSysctl: hand})


def read_applied_fixes(cluster: Cluster) -> tuple[FixStatus, ...]:
    """Those that were made, for `mirror doctor`: nothing is started to look at nodes."""
    return tuple(
        _told(one)
        for one in read_states(build_engine(cluster), load_all_fixes())
        if one.state != "absent"
    )


def _told(state: FixState) -> FixStatus:
    return FixStatus(
        fix=state.fix,
        state=state.state,
        reapply_command=state.again,
        targets=tuple(
            TargetStatus(target=one.target, state=one.state, detail=one.detail)
            for one in state.targets
            if one.state != "applied"
        ),
    )
