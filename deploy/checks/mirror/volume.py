"""The mirror's volume: bound, on a node that works, with free space."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.mirror import MirrorState, VolumeClaim
from deploy.evidence.model import Evidence, Need
from deploy.evidence.nodes import NodeState
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import (
    READ,
    SEEN,
    Finding,
    Remedy,
    Severity,
    check,
    error,
    report,
)

_MIN_FREE = 0.05  # of the volume's size


@check("mirror.volume", "its volume is bound to a node that works", READ, Need.NODES, Need.MIRROR)
def check_bound(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    claim = state.volume
    if claim is None:
        if state.replicas and not state.ready:
            yield error(
                "the mirror's volume claim is gone, and its packages with it",
                remedies.run_mirror_up(
                    "Create a new one; private packages have to be added again."
                ),
                evidence=(f"no claim pypi-mirror-data in namespace {state.namespace}",),
            )
        return
    if claim.phase != "Bound":
        yield _report_unbound(evidence, state, claim)
        return
    nodes = [node for node in require_seen(evidence.nodes) if node.name in claim.nodes]
    if claim.nodes and not any(node.ready and not node.cordoned for node in nodes):
        name = claim.nodes[0]
        node = next((node for node in nodes if node.name == name), nodes[0] if nodes else None)
        yield _report_node(state, claim, name, node)


def _report_node(
    state: MirrorState, claim: VolumeClaim, name: str, node: NodeState | None
) -> Finding:
    """Report a volume whose node is cordoned, not Ready, or not in the cluster (None)."""
    if node is None:
        problem = "is not a node of the cluster"
        bring_back = (
            "Bring the node back under its name; or give the packages up and start over (mirror "
            "down --purge, mirror up)."
        )
    else:
        problem = "is cordoned" if node.ready else "is not Ready"
        bring_back = "Bring the node back."
    is_ready = node is not None and node.ready
    still_runs = state.ready and is_ready
    return report(
        Severity.WARNING if still_runs else Severity.ERROR,
        f"the mirror's packages are on node {name}, which {problem}",
        Remedy(
            bring_back,
            "nodes",
            f"kubectl uncordon {name}" if is_ready else f"kubectl describe node {name}",
        ),
        nodes=(name,) if node else (),
        evidence=(f"claim {claim.claim} ({claim.size}, {claim.storage_class}) is bound to {name}",),
        why="A local volume cannot move: the mirror runs on that node or not at all."
        + (" It still runs; after its next restart its pod stays Pending." if still_runs else ""),
    )


def _report_unbound(evidence: Evidence, state: MirrorState, claim: VolumeClaim) -> Finding:
    return error(
        f"the mirror's volume claim is {claim.phase}: there is no volume for its packages",
        Remedy(
            "Check that the storage class exists and its provisioner runs (MicroK8s: the "
            "hostpath-storage add-on).",
            "cluster",
            remedies.enable_addon_command(evidence, "hostpath-storage", "kubectl get storageclass"),
        ),
        evidence=(
            f"claim {state.namespace}/{claim.claim}: {claim.size} of storage class "
            f"{claim.storage_class or '(none)'}",
            *claim.trouble.splitlines()[1:5],
        ),
        why="There is no such storage class, or its provisioner does not work. The mirror's pod "
        "waits for the volume.",
    )


@check("mirror.room", "its volume has free space", SEEN, Need.POD_DNS, Need.MIRROR)
def check_free_space(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    lines = [*state.error_lines]
    is_low = is_full = False
    views = (view.mirror for _, view in iter_probe_views(evidence) if view.mirror)
    view = next((view for view in views if view.volume_free is not None and view.volume_size), None)
    if view is not None:
        free, size = view.volume_free or 0, view.volume_size or 1
        is_low, is_full = free / size < _MIN_FREE, view.volume_full
        if is_low or is_full:
            lines.append(f"{free / 1e9:.1f} GB of {size / 1e9:.1f} GB are free")
    if is_low or view is None:  # otherwise the errors in the log are old
        is_full = is_full or any("full" in line or "No space" in line for line in state.error_lines)
    if not is_low and not is_full:
        return
    claim = f"claim {state.volume.claim}, {state.volume.size}" if state.volume else "no claim"
    yield report(
        Severity.ERROR if is_full else Severity.WARNING,
        f"the mirror's volume ({claim}) is {'full' if is_full else 'nearly full'}",
        Remedy(
            "Request a larger volume, if the storage class can expand one.",
            "namespace",
            "mirror up --size 50Gi",
        ),
        Remedy(
            f"Or free space on the disk of {'node ' + state.node if state.node else 'its node'}.",
            "nodes",
        ),
        nodes=(state.node,) if state.node else (),
        evidence=lines,
        why="Cached packages are still served, but nothing new is stored and uploads fail. A "
        "hostPath volume shares its disk with the node: other files on it use the same space.",
    )
