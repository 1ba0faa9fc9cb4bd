"""Make CoreDNS load a changed Corefile, by reload or restart; pods on every node prove it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.changes.model import ConfigMapKey
from deploy.changes.update import TargetUpdate
from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import is_rolled_out, list_pods
from deploy.evidence.collect import CollectOptions
from deploy.evidence.coredns import CoreDns
from deploy.evidence.dns import await_answers
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile
from deploy.formats.corefile import CorefileError
from deploy.repair.restart import RESTARTED_AT
from mirror.core.errors import RefusedError
from mirror.core.progress import Progress
from mirror.core.wait import wait_until
from mirror.probe.model import ExpectedAnswer

# kubelets update a mounted ConfigMap within about 90 s, then `reload` looks every 30 s
TIMEOUT_SECONDS = 150.0
_ANNOTATION = "pypi-mirror/corefile-written"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetAnswers:
    """The answers that pods still do not get. ``cluster_names_lost``: not even the cluster's own.

    ``proved_nodes`` got all of them; ``not_seen`` are the reasons why other nodes could not ask.
    """

    failures: tuple[str, ...] = ()
    cluster_names_lost: bool = False
    proved_nodes: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()


def select_corefiles(
    coredns: CoreDns | None, updates: Iterable[TargetUpdate]
) -> dict[ConfigMapKey, bytes]:
    """Return the new text of each file of CoreDNS that these updates write."""
    if coredns is None:
        return {}
    return {
        update.target: update.after or b""
        for update in updates
        if isinstance(update.target, ConfigMapKey)
        and update.changes_target
        and update.target.namespace == coredns.namespace
        and update.target.name in {coredns.name, "coredns-custom"}
    }


def find_restart(coredns: CoreDns | None, updates: Iterable[TargetUpdate]) -> str:
    """Return the workload that must restart for these updates, as KIND/NAME; empty if none."""
    corefiles = select_corefiles(coredns, updates)
    if coredns is None or not corefiles:
        return ""
    new = next((text.decode() for t, text in corefiles.items() if t.key == "Corefile"), None)
    # the running CoreDNS needs `reload`, and the next change needs it too
    texts = (coredns.text, coredns.text if new is None else new)
    return "" if all(map(has_reload, texts)) else coredns.workload


def has_reload(text: str) -> bool:
    """Return whether some server block has `reload`, which works for all of CoreDNS."""
    try:
        parsed = corefile.parse(text)
    except CorefileError:
        return False
    return any(
        directive.name == "reload"
        for block in parsed.server_blocks
        for directive in parsed.effective_directives(block)
    )


def restart_permissions(coredns: CoreDns, workload: str) -> tuple[Permission, ...]:
    """Return what a restart of the workload (KIND/NAME, or empty) needs."""
    if not workload:
        return ()
    resource = API_RESOURCES[workload.partition("/")[0]].plural
    return list_permissions("get update", resource, coredns.namespace)


def require_running(cluster: Cluster, coredns: CoreDns) -> None:
    """Raise RefusedError if CoreDNS is scaled to 0: no pod would answer, whatever is written."""
    obj = _get_workload(cluster, coredns)
    if obj is not None and obj["spec"].get("replicas", 1) == 0:
        raise RefusedError(
            f"CoreDNS does not run: {coredns.workload} has 0 replicas",
            why="no name resolves in the cluster, so no change to it could be proved; nothing was "
            "written",
            next_step=f"kubectl -n {coredns.namespace} scale {coredns.workload.lower()} "
            "--replicas=2, then run this again",
        )


def trigger_reload(
    cluster: Cluster, coredns: CoreDns, workload: str, progress: Progress, *, undo: bool = False
) -> None:
    """Restart the workload (KIND/NAME) if there is one, else make kubelets update its ConfigMap.

    A kubelet updates a pod's volumes when the pod changes, so setting an annotation, or removing it
    (``undo``), saves up to a minute. It is skipped if this user may not change pods.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if workload:
        progress.step(f"restart {workload}: its Corefile has no `reload`")
        _restart(cluster, workload, coredns.namespace, now)
        return
    with suppress(ApiError):
        for pod in list_coredns_pods(cluster, coredns):
            annotations = pod["metadata"].setdefault("annotations", {})
            if undo and _ANNOTATION in annotations:
                del annotations[_ANNOTATION]
            else:
                annotations[_ANNOTATION] = now
            cluster.replace({"apiVersion": "v1", "kind": "Pod", **pod})


def remove_annotation(cluster: Cluster, coredns: CoreDns) -> None:
    """Remove what `trigger_reload` left at the pods of CoreDNS, after a rollback."""
    with suppress(ApiError):
        for pod in list_coredns_pods(cluster, coredns):
            if (pod["metadata"].get("annotations") or {}).pop(_ANNOTATION, None):
                cluster.replace({"apiVersion": "v1", "kind": "Pod", **pod})


def wait_for_answers(
    cluster: Cluster,
    options: CollectOptions,
    evidence: Evidence,
    expected: Sequence[ExpectedAnswer],
    progress: Progress,
) -> UnmetAnswers:
    """Ask from a pod on each Ready node until all answers are as expected.

    Each pod asks its own nameserver and every DNS pod by its address.
    """
    coredns = evidence.coredns
    if not expected or isinstance(coredns, Unseen) or coredns is None:
        return UnmetAnswers()
    if isinstance(evidence.nodes, Unseen):
        return UnmetAnswers(not_seen=(f"not proved: {evidence.nodes.reason}",))
    if options.image is None:
        return UnmetAnswers(not_seen=("not proved: no probe image",))
    nodes = [
        node.name
        for node in evidence.nodes
        if node.ready and (not options.nodes or node.name in options.nodes)
    ]
    servers = [
        pod["status"]["podIP"]
        for pod in list_coredns_pods(cluster, coredns)
        if pod.get("status", {}).get("podIP") and not pod["metadata"].get("deletionTimestamp")
    ]
    reports = await_answers(
        cluster,
        options.image,
        options.namespace,
        nodes,
        expected,
        servers,
        TIMEOUT_SECONDS,
        progress,
    )
    seen = {n: report.unmet for n, report in reports.items() if not isinstance(report, Unseen)}
    unmet = [(node, answer) for node, answers in seen.items() for answer in answers]
    return UnmetAnswers(
        failures=tuple(
            f"{node}: {a.server} answers {', '.join(a.addresses) or a.code} to {a.qtype} {a.name}, "
            f"not {a.expected}"
            for node, a in unmet
        ),
        cluster_names_lost=any(answer.expected == "exists" for _, answer in unmet),
        proved_nodes=tuple(node for node, answers in seen.items() if not answers),
        not_seen=tuple(
            f"{node}: {report.reason}"
            for node, report in reports.items()
            if isinstance(report, Unseen)
        ),
    )


def _restart(cluster: Cluster, workload: str, namespace: str, now: str) -> None:
    kind, _, name = workload.partition("/")
    obj = cluster.get(kind, name, namespace)
    assert obj is not None
    template = obj["spec"]["template"]
    template.setdefault("metadata", {}).setdefault("annotations", {})[RESTARTED_AT] = now
    generation = cluster.replace(obj)["metadata"]["generation"]
    wait_until(
        lambda: is_rolled_out(cluster.get(kind, name, namespace) or {}, generation),
        deadline=cluster.deadline,
        what=f"{workload} is restarted",
        next_step=f"kubectl -n {namespace} rollout status {workload.lower()}",
    )


def list_coredns_pods(cluster: Cluster, coredns: CoreDns) -> list[Object]:
    """Return the pods of CoreDNS's workload; none if it is unknown or gone."""
    workload = _get_workload(cluster, coredns)
    return list_pods(cluster, workload, coredns.namespace) if workload else []


def _get_workload(cluster: Cluster, coredns: CoreDns) -> Object | None:
    kind, _, name = coredns.workload.partition("/")
    return cluster.get(kind, name, coredns.namespace) if coredns.workload else None
