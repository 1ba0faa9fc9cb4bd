"""What the checks of the mirror share."""

from __future__ import annotations

from deploy.evidence.mirror import MirrorState
from deploy.findings.model import Remedy


def run_mirror_up(text: str) -> Remedy:
    """The one command that brings the mirror to what was recorded."""
    return Remedy(text=text, scope="namespace", command="mirror up")


def describe_users(state: MirrorState) -> tuple[str, ...]:
    """Who was given the address."""
    return (f"workloads were given {state.recorded_address}:{state.port}",) * bool(
        state.recorded_address
    ) + tuple(f"published in namespace {one.namespace}" for one in state.published)
