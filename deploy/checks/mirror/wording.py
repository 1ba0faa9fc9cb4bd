"""What the checks of the mirror share."""

from __future__ import annotations

from deploy.evidence.mirror import MirrorState
from deploy.findings.model import Remedy


def run_mirror_up(text: str) -> Remedy:
    """Return the remedy that restores the mirror as it was recorded."""
    return Remedy(text, "namespace", "mirror up")


def describe_users(state: MirrorState) -> tuple[str, ...]:
    """Return the lines that say which workloads use the mirror."""
    lines = [f"published in namespace {config_map.namespace}" for config_map in state.published]
    if state.recorded_address:
        lines.insert(0, f"workloads use {state.recorded_address}:{state.port}")
    return tuple(lines)
