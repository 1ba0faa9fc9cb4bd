"""The mirror: whether it runs, at its address, on its volume, and reached from every node."""

from __future__ import annotations

from deploy.checks.mirror import published, reachability, state, volume
from deploy.evidence.model import Need
from deploy.findings.model import DoctorCheck

CATEGORY = "mirror"
RANK = 70  # its position in the report

_MIRROR = frozenset({Need.MIRROR})
_PROBED = frozenset({Need.MIRROR, Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="mirror.running",
        fact="the mirror runs, if there is one",
        needs=_MIRROR | {Need.NODES},
        find=state.check_running,
    ),
    DoctorCheck(
        id="mirror.address",
        fact="it has the address that workloads use",
        needs=_MIRROR,
        find=published.check_address,
    ),
    DoctorCheck(
        id="mirror.volume",
        fact="its volume is bound to a node that works",
        needs=_MIRROR | {Need.NODES},
        find=volume.check_bound,
    ),
    DoctorCheck(
        id="mirror.room",
        fact="its volume has free space",
        needs=_PROBED,
        find=volume.check_free_space,
    ),
    DoctorCheck(
        id="mirror.image",
        fact="it runs the image that `mirror up` set",
        needs=_MIRROR,
        find=state.check_image,
    ),
    DoctorCheck(
        id="mirror.published",
        fact="the published ConfigMaps are right",
        needs=_MIRROR,
        find=published.check_published,
    ),
    DoctorCheck(
        id="mirror.reached",
        fact="pods on every node reach it",
        needs=_PROBED,
        find=reachability.check_reached,
    ),
    DoctorCheck(
        id="mirror.upstream",
        fact="it reaches the index that it mirrors",
        needs=_PROBED,
        find=reachability.check_upstream,
    ),
)
