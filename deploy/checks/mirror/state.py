"""Whether the mirror runs, and which image."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import describe_users, run_mirror_up
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings.model import Finding, Remedy, Severity, check, error, report, warning


@check("mirror.running", "the mirror runs, if there is one", Need.NODES, Need.MIRROR)
def check_running(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    if state.record_trouble:
        yield error(
            "the mirror's record cannot be read: it holds the address that workloads use",
            Remedy(
                "Restore it. Only if no workload uses the mirror yet, delete it and start over.",
                "namespace",
                f"kubectl -n {state.namespace} get configmap -o yaml",
            ),
            evidence=(state.record_trouble,),
        )
        return
    if not state.ever_existed or state.ready:
        return
    if not state.replicas:
        problem = "does not exist" if state.replicas is None else "has 0 replicas"
        yield report(
            Severity.ERROR if state.published else Severity.WARNING,
            "the mirror is stopped" + (", and workloads are sent to it" if state.published else ""),
            run_mirror_up("Start it again."),
            evidence=(
                f"StatefulSet {state.namespace}/pypi-mirror {problem}",
                *describe_users(state),
            ),
            why="Its packages and its address are kept: workloads that use it work again once it "
            "runs.",
        )
        return
    yield error(
        "the mirror's pod is not Ready" + (f" on {state.node}" if state.node else ""),
        run_mirror_up("Start it again; if that fails, the command says why."),
        Remedy(
            "See why it does not start.",
            "namespace",
            f"kubectl -n {state.namespace} describe pod pypi-mirror-0",
        ),
        nodes=(state.node,) if state.node else (),
        evidence=state.trouble[:8],
        why=_explain_not_ready(evidence, state),
    )


def _explain_not_ready(evidence: Evidence, state: MirrorState) -> str:
    trouble = " ".join(state.trouble)
    if "Pending" in trouble and state.volume and state.volume.phase != "Bound":
        return "Its volume does not exist yet: see mirror.volume."
    if "ImagePull" in trouble or "ErrImage" in trouble:
        return "The node does not have its image and cannot pull it: `mirror up` delivers it."
    nodes = () if isinstance(evidence.nodes, Unseen) else evidence.nodes
    if any(node.name == state.node and not node.ready for node in nodes):
        return f"Its node {state.node} is not Ready."
    return ""


@check("mirror.image", "it runs the image that `mirror up` set", Need.MIRROR)
def check_image(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    if not state.image or not state.recorded_image or state.image == state.recorded_image:
        return
    yield warning(
        "the mirror runs another image than `mirror up` gave it",
        run_mirror_up("Restore the recorded image."),
        evidence=(f"runs {state.image}", f"recorded is {state.recorded_image}"),
        why="Somebody changed the StatefulSet. The next `mirror up` restores the recorded image.",
    )
