"""What the checks of the mirror share."""

from __future__ import annotations

from deploy.evidence.model import Mend
from deploy.evidence.things import MirrorState


def up(text: str) -> Mend:
    """The one command that brings the mirror to what was recorded."""
    return Mend(text=text, reach="namespace", command="mirror up")


def waiting(state: MirrorState) -> tuple[str, ...]:
    """Who was given the address."""
    return (f"workloads were given {state.promised}:{state.port}",) * bool(state.promised) + tuple(
        f"published in namespace {one.namespace}" for one in state.published
    )
