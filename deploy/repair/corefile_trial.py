"""CoreDNS started on a configuration before it is written: what it cannot load is never written.

CoreDNS has no mode that only checks. So a pod is made from its own Deployment's template (image,
ServiceAccount, mounts), with the new texts in ConfigMaps of its own, outside of the Service and in
a network of its own, so that its ports meet nobody's.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping

from deploy.changes.model import ConfigMapKey
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster, Object, temporary_objects
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import format_selector, is_ready, is_stuck
from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import NAME, build_labels
from mirror.core.errors import RefusedError, UnfitError, WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_SECONDS = 60.0
_COMPONENT = "trial"
_STARTED = "CoreDNS-"  # the banner, printed once all servers listen


def required_permissions(namespace: str) -> tuple[Permission, ...]:
    """What a trial needs besides the ledger's."""
    verbs = [(verb, "pods") for verb in ("create", "get", "list", "delete")]
    return tuple(
        Permission(verb=verb, resource=what, namespace=namespace)
        for verb, what in (*verbs, ("get", "pods/log"))
    )


def try_corefile(
    cluster: Cluster, workload: str, texts: Mapping[ConfigMapKey, bytes], progress: Progress
) -> None:
    """Start CoreDNS on these texts. Raises RefusedError with its words where it does not load."""
    if not texts:
        return
    progress.step("start a CoreDNS of our own on the new Corefile")
    namespace = next(iter(texts)).namespace
    template = _template(cluster, workload, namespace)
    _sweep(cluster, namespace)
    mark = secrets.token_hex(3)
    maps = {one.name: f"{NAME}-trial-{mark}-{one.name}" for one in texts}
    made = [_map(cluster, namespace, old, new, texts) for old, new in maps.items()]
    pod = _pod(template, namespace, f"{NAME}-trial-{mark}", maps)
    with temporary_objects(cluster, *made, pod):
        _wait(cluster, pod)


def _sweep(cluster: Cluster, namespace: str) -> None:
    """What a trial has left that was killed. Nobody else's: there is one writer at a time."""
    chosen = format_selector(build_labels(_COMPONENT))
    for kind in ("Pod", "ConfigMap"):
        for one in cluster.list(kind, namespace, labels=chosen):
            cluster.delete(kind, one["metadata"]["name"], namespace, grace_seconds=0)


def _template(cluster: Cluster, workload: str, namespace: str) -> Object:
    kind, _, name = workload.partition("/")
    found = cluster.get(kind, name, namespace) if workload else None
    if found is None:
        raise UnfitError(
            "the new Corefile cannot be tried: no Deployment mounts the ConfigMap",
            why=f"looked for in {namespace}; a Corefile that was not tried is not written",
            next_step="edit it by hand, as docs/runbook.md shows",
        )
    template: Object = found["spec"]["template"]
    return template


def _map(
    cluster: Cluster, namespace: str, old: str, new: str, texts: Mapping[ConfigMapKey, bytes]
) -> Object:
    found = cluster.get("ConfigMap", old, namespace) or {}
    data = dict(found.get("data") or {})
    data |= {one.key: text.decode() for one, text in texts.items() if one.name == old}
    made = render_config_map(namespace, new, data)
    made["metadata"]["labels"] = build_labels(_COMPONENT)
    return made | ({"binaryData": found["binaryData"]} if found.get("binaryData") else {})


def _pod(template: Object, namespace: str, name: str, maps: Mapping[str, str]) -> Object:
    spec = copy.deepcopy(template["spec"])
    spec |= {"restartPolicy": "Never", "hostNetwork": False, "terminationGracePeriodSeconds": 0}
    spec.pop("topologySpreadConstraints", None)
    affinity = spec.pop("affinity", None) or {}
    if "nodeAffinity" in affinity:
        spec["affinity"] = {"nodeAffinity": affinity["nodeAffinity"]}
    for container in spec["containers"]:
        container.pop("livenessProbe", None)
        for port in container.get("ports", []):
            port.pop("hostPort", None)
    for volume in spec.get("volumes") or []:
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        for source in sources:
            given = source.get("configMap")
            if given and given.get("name") in maps:
                given["name"] = maps[given["name"]]
    annotations = template.get("metadata", {}).get("annotations") or {}
    meta: Object = {"name": name, "namespace": namespace, "labels": build_labels(_COMPONENT)}
    meta |= {"annotations": annotations} if annotations else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _wait(cluster: Cluster, pod: Object) -> None:
    meta = pod["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    container = pod["spec"]["containers"][0]

    def look() -> bool:
        found = cluster.get("Pod", name, namespace) or {}
        status = found.get("status", {})
        if status.get("phase") in {"Failed", "Succeeded"}:
            log = cluster.tail_log(namespace, name, container["name"], lines=30).strip()
            raise RefusedError(
                "CoreDNS cannot load the new Corefile; nothing was written",
                why=log or explain_pod(cluster, namespace, name),
                next_step="see the difference with --dry-run, and what in the Corefile is unusual",
            )
        if is_stuck(found):
            raise UnfitError(
                "the new Corefile cannot be tried: a pod like CoreDNS' own does not start",
                why=explain_pod(cluster, namespace, name),
                next_step="mend what keeps it from starting, then run this again",
            )
        if container.get("readinessProbe"):
            return is_ready(found)
        return _STARTED in cluster.tail_log(namespace, name, container["name"])

    try:
        wait_until(
            look,
            deadline=cluster.deadline.within(_SECONDS),
            what="a CoreDNS on trial",
            max_interval=0.5,
        )
    except WaitTimeout as late:
        raise UnfitError(
            "the new Corefile cannot be tried: a pod like CoreDNS' own is not ready in time",
            why=explain_pod(cluster, namespace, name),
            next_step="mend what keeps it from being ready, then run this again",
        ) from late
