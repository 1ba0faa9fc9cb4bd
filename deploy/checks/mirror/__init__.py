"""The mirror: whether it runs, at its address, on its volume, and reached from every node."""

from __future__ import annotations

from deploy.checks.mirror import reachability, state, volume

CATEGORY = "mirror"
RANK = 70  # its position in the report

# the causes first: `next:` is the first remedy of the first of the worst findings
CHECKS = (
    volume.check_bound,
    volume.check_free_space,
    state.check_running,
    state.check_address,
    state.check_image,
    state.check_published,
    reachability.check_reached,
    reachability.check_upstream,
)
