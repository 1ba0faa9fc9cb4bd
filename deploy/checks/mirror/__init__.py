"""The mirror: running, at its address, on its volume, and reached from every node."""

from __future__ import annotations

from deploy.checks.mirror import published, reachability, state, volume
from deploy.evidence.model import Need
from deploy.findings.model import DoctorCheck

CATEGORY = "mirror"
RANK = 70  # where it stands in the report

_MIRROR = frozenset({Need.MIRROR})
_REACHED = frozenset({Need.MIRROR, Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="mirror.running",
        fact="the mirror runs, if there is one",
        needs=_MIRROR | {Need.NODES},
        find=state.check_running,
    ),
    DoctorCheck(
        id="mirror.address",
        fact="it is at the address that workloads were given",
        needs=_MIRROR,
        find=published.check_address,
    ),
    DoctorCheck(
        id="mirror.volume",
        fact="its volume is bound, and the node of it is there",
        needs=_MIRROR | {Need.NODES},
        find=volume.check_bound,
    ),
    DoctorCheck(
        id="mirror.room", fact="its volume has room", needs=_REACHED, find=volume.check_free_space
    ),
    DoctorCheck(
        id="mirror.image",
        fact="it runs the image it was given",
        needs=_MIRROR,
        find=state.check_image,
    ),
    DoctorCheck(
        id="mirror.published",
        fact="what was published is right",
        needs=_MIRROR,
        find=published.check_published,
    ),
    DoctorCheck(
        id="mirror.reached",
        fact="pods on every node reach it",
        needs=_REACHED,
        find=reachability.check_reached,
    ),
    DoctorCheck(
        id="mirror.upstream",
        fact="it reaches the index that it mirrors",
        needs=_REACHED,
        find=reachability.check_upstream,
    ),
)
