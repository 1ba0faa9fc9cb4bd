"""How the fixes stand: what there is, the engine that knows all of them, and what came undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import deploy.fixes
from deploy.changes.engine import Engine
from deploy.changes.model import Fix, NodeFile, NodeSysctl
from deploy.changes.node_hand import NodeHand
from deploy.changes.states import FixState, states
from deploy.cluster.client import Cluster
from deploy.discover import parts
from deploy.evidence.things import Standing, Unlike


def every() -> Mapping[str, Fix]:
    """Whatever changes what is not ours, by name, in the order in which it is made."""
    found = sorted((part.FIX for part in parts(deploy.fixes)), key=lambda fix: fix.order)
    return {fix.name: fix for fix in found}


def known() -> Mapping[str, Fix]:
    """The fixes of `mirror fix` by name."""
    return {name: fix for name, fix in every().items() if fix.command == "fix"}


def engine(cluster: Cluster, image: Callable[[], str | None] = lambda: None) -> Engine:
    """The engine with every fix there is; ``image`` is the node agent's, should it be started."""
    hand = NodeHand(cluster, image)
    return Engine(cluster, every(), {NodeFile: hand, NodeSysctl: hand})


def seen(cluster: Cluster) -> tuple[Standing, ...]:
    """Those that were made, for `mirror doctor`: nothing is started to look at nodes."""
    return tuple(_told(one) for one in states(engine(cluster), every()) if one.state != "absent")


def _told(state: FixState) -> Standing:
    return Standing(
        fix=state.fix,
        state=state.state,
        again=state.again,
        unlike=tuple(
            Unlike(target=one.target, state=one.state, detail=one.detail)
            for one in state.targets
            if one.state != "applied"
        ),
    )
