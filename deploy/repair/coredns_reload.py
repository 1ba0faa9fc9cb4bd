"""A changed Corefile taken up by CoreDNS, and seen from pods on every node."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.cluster.access import Permission
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
from mirror.core.progress import Progress
from mirror.core.wait import wait_until
from mirror.probe.model import ExpectedAnswer

TIMEOUT_SECONDS = (
    150.0  # kubelets bring a ConfigMap to its pods within about 90 s, `reload` looks every 30
)
_MARK = "pypi-mirror/corefile-written"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetAnswers:
    """What was not answered as expected. ``broken``: the cluster's own names are gone.

    ``nodes`` are those that saw everything, ``not_seen`` the reasons why others could not look.
    """

    failures: tuple[str, ...]
    cluster_names_lost: bool
    proved_nodes: tuple[str, ...]
    not_seen: tuple[str, ...]


def has_reload(text: str) -> bool:
    """Whether a server block has `reload`: one is enough, it is CoreDNS' own."""
    try:
        found = corefile.parse(text)
    except CorefileError:
        return False
    return any(
        one.name == "reload"
        for block in found.server_blocks
        for one in found.effective_directives(block)
    )


def restart_permissions(core: CoreDns, restarts: str) -> tuple[Permission, ...]:
    """What a restart needs."""
    if not restarts:
        return ()
    resource = API_RESOURCES[restarts.partition("/")[0]].plural
    return tuple(
        Permission(verb=v, resource=resource, namespace=core.namespace) for v in ("get", "update")
    )


def trigger_reload(cluster: Cluster, core: CoreDns, restarts: str, progress: Progress) -> None:
    """Restart CoreDNS where it has no `reload`; else have its pods' ConfigMap brought up to date.

    A kubelet looks at a pod's volumes when the pod changes: an annotation saves up to a minute. It
    is left out where pods may not be changed.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if restarts:
        progress.step(f"restart {restarts}: its Corefile has no `reload`")
        kind, _, name = restarts.partition("/")
        found = cluster.get(kind, name, core.namespace)
        assert found is not None
        template = found["spec"]["template"]
        marks = template.setdefault("metadata", {}).setdefault("annotations", {})
        marks["kubectl.kubernetes.io/restartedAt"] = now
        asked = cluster.replace(found)["metadata"]["generation"]
        wait_until(
            lambda: is_rolled_out(cluster.get(kind, name, core.namespace) or {}, asked),
            deadline=cluster.deadline,
            what=f"{restarts} is restarted",
            next_step=f"kubectl -n {core.namespace} rollout status {restarts.lower()}",
        )
        return
    with suppress(ApiError):
        for pod in _pods(cluster, core):
            pod["metadata"].setdefault("annotations", {})[_MARK] = now
            cluster.replace({"apiVersion": "v1", "kind": "Pod", **pod})


def _pods(cluster: Cluster, core: CoreDns) -> list[Object]:
    kind, _, name = core.workload.partition("/")
    found = cluster.get(kind, name, core.namespace) if core.workload else None
    if found is None:
        return []
    return list_pods(cluster, found, core.namespace)


def wait_for_answers(
    cluster: Cluster,
    look: CollectOptions,
    evidence: Evidence,
    wanted: Sequence[ExpectedAnswer],
    progress: Progress,
) -> UnmetAnswers:
    """Ask from a pod on each Ready node, each DNS pod by address too, until all is as wanted."""
    core = evidence.coredns
    if not wanted or isinstance(core, Unseen) or core is None:
        return UnmetAnswers(failures=(), cluster_names_lost=False, proved_nodes=(), not_seen=())
    if look.image is None or isinstance(evidence.nodes, Unseen):
        reason = "no probe image" if look.image is None else evidence.nodes.reason  # type: ignore[union-attr]
        return UnmetAnswers(
            failures=(),
            cluster_names_lost=False,
            proved_nodes=(),
            not_seen=(f"not proved: {reason}",),
        )
    nodes = [n.name for n in evidence.nodes if n.ready and (not look.nodes or n.name in look.nodes)]
    servers = [
        pod["status"]["podIP"]
        for pod in _pods(cluster, core)
        if pod.get("status", {}).get("podIP") and not pod["metadata"].get("deletionTimestamp")
    ]
    told = await_answers(
        cluster, look.image, look.namespace, nodes, wanted, servers, TIMEOUT_SECONDS, progress
    )
    lines, not_seen, fine, broken = list[str](), list[str](), list[str](), False
    for node, seen in told.items():
        if isinstance(seen, Unseen):
            not_seen.append(f"{node}: {seen.reason}")
            continue
        for one in seen.unmet:
            said = ", ".join(one.addresses) or one.code
            lines.append(
                f"{node}: {one.server} says {said} to {one.qtype} {one.name}, not {one.wanted}"
            )
            broken = broken or one.wanted == "exists"
        if not seen.unmet:
            fine.append(node)
    return UnmetAnswers(
        failures=tuple(lines),
        cluster_names_lost=broken,
        proved_nodes=tuple(fine),
        not_seen=tuple(not_seen),
    )
