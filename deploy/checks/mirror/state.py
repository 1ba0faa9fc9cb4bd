"""The mirror: whether it runs, with its image, at its address, and the published ConfigMaps."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import (
    READ,
    Finding,
    Remedy,
    Severity,
    check,
    error,
    note,
    report,
    warning,
)
from deploy.findings.phrases import join_names


@check("mirror.running", "the mirror runs, if there is one", READ, Need.NODES, Need.MIRROR)
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
            remedies.run_mirror_up("Start it again."),
            evidence=(
                f"StatefulSet {state.namespace}/pypi-mirror {problem}",
                *_describe_users(state),
            ),
            why="Its packages and its address are kept: workloads that use it work again once it "
            "runs.",
        )
        return
    over_quota = Remedy(
        "Raise the quota, or delete what is not needed there.",
        "namespace",
        f"kubectl -n {state.namespace} describe resourcequotas",
    )
    yield error(
        "the mirror's pod is not Ready" + (f" on {state.node}" if state.node else ""),
        *([over_quota] if "exceeded quota" in " ".join(state.trouble) else []),
        remedies.run_mirror_up("Start it again; if that fails, the command says why."),
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
    if "exceeded quota" in trouble:
        return "A ResourceQuota of its namespace leaves no room for the pod."
    if "Pending" in trouble and state.volume and state.volume.phase != "Bound":
        return "Its volume does not exist yet: see mirror.volume."
    if "ImagePull" in trouble or "ErrImage" in trouble:
        return "The node does not have its image and cannot pull it: `mirror up` delivers it."
    nodes = require_seen(evidence.nodes)
    if any(node.name == state.node and not node.ready for node in nodes):
        return f"Its node {state.node} is not Ready."
    return ""


@check("mirror.image", "it runs the image that `mirror up` set", READ, Need.MIRROR)
def check_image(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    if not state.image or not state.recorded_image or state.image == state.recorded_image:
        return
    yield warning(
        "the mirror runs another image than `mirror up` gave it",
        remedies.run_mirror_up("Restore the recorded image."),
        evidence=(f"runs {state.image}", f"recorded is {state.recorded_image}"),
        why="Somebody changed the StatefulSet. The next `mirror up` restores the recorded image.",
    )


@check("mirror.address", "it has the address that workloads use", READ, Need.MIRROR)
def check_address(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    if not state.recorded_address or not state.replicas:
        return
    if state.service_address == state.recorded_address:
        return
    actual = f"has {state.service_address}" if state.service_address else "is gone"
    yield error(
        f"workloads were given {state.recorded_address}, and the mirror's Service {actual}",
        remedies.run_mirror_up("Restore the Service with its address."),
        evidence=(f"Service {state.namespace}/pypi-mirror {actual}", *_describe_users(state)),
        why="Workloads that use the mirror get no answer, although the mirror itself works. The "
        "address is recorded; `mirror up` requests it again.",
    )


@check("mirror.published", "the published ConfigMaps are right", READ, Need.MIRROR)
def check_published(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    wrong = {
        config_map.namespace: config_map
        for config_map in state.published
        if config_map.state != "right"
    }
    deleted = [name for name, config_map in wrong.items() if config_map.state == "no namespace"]
    broken = {name: config_map for name, config_map in wrong.items() if name not in deleted}
    if broken and state.recorded_address:
        foreign = [name for name, config_map in broken.items() if config_map.state == "foreign"]
        yield error(
            "the environment that workloads take is not the mirror's in namespace "
            + join_names(broken),
            Remedy(
                f"Rename or remove the other ConfigMap in {join_names(foreign)}, then publish."
                if foreign
                else "Publish it again, then restart the pods that use the old one.",
                "namespace",
                "mirror env --publish " + " ".join(broken),
            ),
            evidence=(
                f"ConfigMap {name}/pypi-mirror-env "
                + {
                    "missing": "is missing",
                    "foreign": "was not created by this program",
                    "stale": f"contains {config_map.url or 'no index'}, the mirror is at "
                    f"{state.url}",
                }[config_map.state]
                for name, config_map in broken.items()
            ),
            why="New pods there use an address where nothing answers; without the ConfigMap they "
            "do not start at all (CreateContainerConfigError). Running pods keep their "
            "environment.",
        )
    if deleted:
        yield note(
            f"the mirror was published in namespaces that are gone: {join_names(deleted)}",
            remedies.run_mirror_up("Nothing has to be done; `mirror up` skips them."),
            evidence=(f"no namespace {name}" for name in deleted),
        )


def _describe_users(state: MirrorState) -> tuple[str, ...]:
    """Return the lines that say which workloads use the mirror."""
    lines = [f"published in namespace {config_map.namespace}" for config_map in state.published]
    if state.recorded_address:
        lines.insert(0, f"workloads use {state.recorded_address}:{state.port}")
    return tuple(lines)
