"""Its volume: bound, on a node that is there, with room."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import run_mirror_up
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity

_LOW = 0.05  # part of the volume that should stay free


def check_bound(evidence: Evidence) -> Iterator[Finding]:
    """The claim is not bound, or its node is away."""
    state = require_seen(evidence.mirror)
    held = state.volume
    if held is None:
        if state.replicas and not state.ready:
            yield Finding(
                check="mirror.volume",
                severity=Severity.ERROR,
                cause="the mirror's volume claim is gone, and its packages with it",
                evidence=(f"no claim pypi-mirror-data in namespace {state.namespace}",),
                remedies=(
                    run_mirror_up("Make a new one; private packages have to be added again."),
                ),
            )
        return
    if held.phase != "Bound":
        yield _unbound(evidence, state)
        return
    nodes = evidence.nodes
    if isinstance(nodes, Unseen) or not held.nodes:
        return
    known = {node.name: node for node in nodes}
    here = [known[name] for name in held.nodes if name in known]
    if any(node.ready and not node.cordoned for node in here):
        return
    name = held.nodes[0]
    gone = (
        "is no node of the cluster"
        if not here
        else ("is cordoned" if here[0].ready else "is not Ready")
    )
    running_there = state.ready and bool(here) and here[0].ready
    yield Finding(
        check="mirror.volume",
        severity=Severity.WARNING if running_there else Severity.ERROR,
        cause=f"the mirror's packages are on node {name}, which {gone}",
        nodes=(name,) if here else (),
        evidence=(f"claim {held.claim} ({held.size}, {held.storage_class}) is bound to {name}",),
        why="A local volume does not move: the mirror runs on that node or nowhere"
        + (". It still runs; if its pod ends it stays Pending." if running_there else "."),
        remedies=(
            Remedy(
                text="Bring the node back."
                if here
                else "Bring the node back under its name; or give the packages up and start anew "
                "(mirror down --purge, mirror up).",
                scope="nodes",
                command=f"kubectl uncordon {name}"
                if here and here[0].ready
                else f"kubectl describe node {name}",
            ),
        ),
    )


def _unbound(evidence: Evidence, state: MirrorState) -> Finding:
    held = state.volume
    assert held is not None
    enable = remedies.enable_addon_command(evidence, "hostpath-storage", "kubectl get storageclass")
    return Finding(
        check="mirror.volume",
        severity=Severity.ERROR,
        cause=f"the mirror's volume claim is {held.phase}: there is no volume for its packages",
        evidence=(
            f"claim {state.namespace}/{held.claim}: {held.size} of storage class "
            f"{held.storage_class or '(none)'}",
            *held.trouble.splitlines()[1:5],
        ),
        why="The class's provisioner does not answer, or there is no such class: the mirror's pod "
        "waits for it.",
        remedies=(
            Remedy(
                text="See that the storage class exists and its provisioner runs (MicroK8s: the "
                "hostpath-storage add-on).",
                scope="cluster",
                command=enable,
            ),
        ),
    )


def check_free_space(evidence: Evidence) -> Iterator[Finding]:
    """The volume is full, or nearly."""
    state = require_seen(evidence.mirror)
    told = [
        view.mirror
        for _, view in iter_probe_views(evidence)
        if view.mirror and view.mirror.volume_free is not None and view.mirror.volume_size
    ]
    shown = [*state.error_lines]
    low = full = False
    for one in told[:1]:
        free, size = one.volume_free or 0, one.volume_size or 1
        low, full = free / size < _LOW, one.volume_full
        if low or full:
            shown.append(f"{free / 1e9:.1f} GB of {size / 1e9:.1f} GB are free")
    if low or not told:  # what a log says may be over
        full = full or any("full" in line or "No space" in line for line in state.error_lines)
    if not low and not full:
        return
    claim = f"claim {state.volume.claim}, {state.volume.size}" if state.volume else "no claim"
    yield Finding(
        check="mirror.room",
        severity=Severity.ERROR if full else Severity.WARNING,
        cause=f"the mirror's volume ({claim}) is {'full' if full else 'nearly full'}",
        nodes=(state.node,) if state.node else (),
        evidence=tuple(shown),
        why="What is cached is still served; nothing new is stored, and uploads fail. A hostPath "
        "volume shares its disk with the node: whatever fills that fills this.",
        remedies=(
            Remedy(
                text="Ask for a larger volume, where the storage class can grow one.",
                scope="namespace",
                command="mirror up --size 50Gi",
            ),
            Remedy(
                text=f"Or make room on the disk of node {state.node or 'of the volume'}.",
                scope="nodes",
            ),
        ),
    )
