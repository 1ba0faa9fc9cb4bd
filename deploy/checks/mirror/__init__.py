"""The mirror: whether it runs, at its address, on its volume, and reached from every node."""

from __future__ import annotations

from deploy.checks.mirror import reachability, state, volume

CATEGORY = "mirror"
RANK = 70  # its position in the report

CHECKS = (
    state.check_running,
    state.check_address,
    volume.check_bound,
    volume.check_free_space,
    state.check_image,
    state.check_published,
    reachability.check_reached,
    reachability.check_upstream,
)
