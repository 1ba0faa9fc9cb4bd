"""The mirror: running, at its address, on its volume, and reached from every node."""

from __future__ import annotations

from deploy.checks.mirror import given, reach, state, volume
from deploy.evidence.model import Check, Need

CATEGORY = "mirror"
RANK = 70  # where it stands in the report

_MIRROR = frozenset({Need.MIRROR})
_REACHED = frozenset({Need.MIRROR, Need.POD_DNS})

CHECKS = (
    Check(
        id="mirror.running",
        fact="the mirror runs, if there is one",
        needs=_MIRROR | {Need.NODES},
        look=state.running,
    ),
    Check(
        id="mirror.address",
        fact="it is at the address that workloads were given",
        needs=_MIRROR,
        look=given.address,
    ),
    Check(
        id="mirror.volume",
        fact="its volume is bound, and the node of it is there",
        needs=_MIRROR | {Need.NODES},
        look=volume.bound,
    ),
    Check(id="mirror.room", fact="its volume has room", needs=_REACHED, look=volume.room),
    Check(
        id="mirror.image", fact="it runs the image it was given", needs=_MIRROR, look=state.image
    ),
    Check(
        id="mirror.published",
        fact="what was published is right",
        needs=_MIRROR,
        look=given.published,
    ),
    Check(
        id="mirror.reached",
        fact="pods on every node reach it",
        needs=_REACHED,
        look=reach.reached,
    ),
    Check(
        id="mirror.upstream",
        fact="it reaches the index that it mirrors",
        needs=_REACHED,
        look=reach.upstream,
    ),
)
