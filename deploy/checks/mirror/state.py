"""Whether it runs, and what."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import describe_users, run_mirror_up
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings.model import Finding, Remedy, Severity


def check_running(evidence: Evidence) -> Iterator[Finding]:
    """Stopped, or not Ready."""
    state = require_seen(evidence.mirror)
    if state.record_trouble:
        yield Finding(
            check="mirror.running",
            severity=Severity.ERROR,
            cause="the mirror's record cannot be read: it holds the address that workloads use",
            evidence=(state.record_trouble,),
            remedies=(
                Remedy(
                    text="Restore it; only if no workload uses the mirror yet, delete it and start "
                    "anew.",
                    scope="namespace",
                    command=f"kubectl -n {state.namespace} get configmap -o yaml",
                ),
            ),
        )
        return
    if not state.ever_existed or state.ready:
        return
    if not state.replicas:
        gone = "does not exist" if state.replicas is None else "has 0 replicas"
        yield Finding(
            check="mirror.running",
            severity=Severity.ERROR if state.published else Severity.WARNING,
            cause="the mirror is stopped"
            + (", and workloads are sent to it" if state.published else ""),
            evidence=(
                f"StatefulSet {state.namespace}/pypi-mirror {gone}",
                *describe_users(state),
            ),
            why="Its packages and its address are kept: what used it works again once it runs.",
            remedies=(run_mirror_up("Start it again."),),
        )
        return
    yield Finding(
        check="mirror.running",
        severity=Severity.ERROR,
        cause="the mirror's pod is not Ready" + (f" on {state.node}" if state.node else ""),
        nodes=(state.node,) if state.node else (),
        evidence=state.trouble[:8],
        why=_why_not_ready(evidence, state),
        remedies=(
            run_mirror_up("Start it again; it says what is in the way."),
            Remedy(
                text="See why it does not start.",
                scope="namespace",
                command=f"kubectl -n {state.namespace} describe pod pypi-mirror-0",
            ),
        ),
    )


def _why_not_ready(evidence: Evidence, state: MirrorState) -> str:
    text = " ".join(state.trouble)
    if "Pending" in text and state.volume and state.volume.phase != "Bound":
        return "Its volume is not there yet: see mirror.volume."
    if "ImagePull" in text or "ErrImage" in text:
        return "The node does not have its image and cannot pull it: `mirror up` delivers it."
    nodes = evidence.nodes
    down = () if isinstance(nodes, Unseen) else tuple(n.name for n in nodes if not n.ready)
    if state.node in down:
        return f"Node {state.node}, which runs it, is not Ready."
    return ""


def check_image(evidence: Evidence) -> Iterator[Finding]:
    """Somebody changed the mirror's image, or pods of it are of another version than this tool."""
    state = require_seen(evidence.mirror)
    if not state.image or not state.recorded_image or state.image == state.recorded_image:
        return
    yield Finding(
        check="mirror.image",
        severity=Severity.WARNING,
        cause="the mirror runs another image than `mirror up` gave it",
        evidence=(f"runs {state.image}", f"was given {state.recorded_image}"),
        why="Somebody changed the StatefulSet. The next `mirror up` takes the recorded image.",
        remedies=(run_mirror_up("Bring the recorded image back."),),
    )
