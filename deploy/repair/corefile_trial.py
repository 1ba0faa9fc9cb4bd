"""Start CoreDNS on a new configuration before writing it, so that only one that loads is written.

CoreDNS has no mode that only checks. The trial is a pod made from the pod template of CoreDNS's
own workload (image, ServiceAccount, mounts) with the new texts in ConfigMaps of its own. The
Service does not select it, and in its own network its ports conflict with nothing.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping

from deploy.changes.model import ConfigMapKey
from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.client import Cluster, Object, temporary_objects
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import format_selector, is_ready, is_stuck
from deploy.manifests.model import NAME, build_labels, new_object
from mirror.core.errors import RefusedError, UnfitError, WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_TIMEOUT_SECONDS = 60.0
_COMPONENT = "trial"
_BANNER = "CoreDNS-"  # printed once all servers listen


def required_permissions(namespace: str) -> tuple[Permission, ...]:
    """Return the permissions that a trial needs."""
    pods = list_permissions("create get list delete", "pods", namespace)
    return (*pods, *list_permissions("get", "pods/log", namespace))


def try_corefile(
    cluster: Cluster, workload: str, texts: Mapping[ConfigMapKey, bytes], progress: Progress
) -> None:
    """Start CoreDNS with these texts. Raises RefusedError with its log if it does not load them.

    ``workload`` is CoreDNS's own, as KIND/NAME.
    """
    if not texts:
        return
    progress.step("start a trial CoreDNS with the new Corefile")
    namespace = next(iter(texts)).namespace
    template = _read_template(cluster, workload, namespace)
    _remove_leftovers(cluster, namespace)
    suffix = secrets.token_hex(3)
    names = {target.name: f"{NAME}-trial-{suffix}-{target.name}" for target in texts}
    config_maps = [
        _render_config_map(cluster, namespace, original, copy_name, texts)
        for original, copy_name in names.items()
    ]
    pod = _render_pod(template, namespace, f"{NAME}-trial-{suffix}", names)
    with temporary_objects(cluster, *config_maps, pod):
        _wait_until_loaded(cluster, pod)


def _remove_leftovers(cluster: Cluster, namespace: str) -> None:
    """Remove what a killed trial left. We hold the Lease, so no other trial is running."""
    selector = format_selector(build_labels(_COMPONENT))
    for kind in ("Pod", "ConfigMap"):
        for obj in cluster.list(kind, namespace, labels=selector):
            cluster.delete(kind, obj["metadata"]["name"], namespace, grace_seconds=0)


def _read_template(cluster: Cluster, workload: str, namespace: str) -> Object:
    kind, _, name = workload.partition("/")
    obj = cluster.get(kind, name, namespace) if workload else None
    if obj is None:
        raise UnfitError(
            "the new Corefile cannot be tried: no Deployment mounts the ConfigMap",
            why=f"looked in namespace {namespace}; an untried Corefile is not written",
            next_step="edit it by hand, as docs/runbook.md shows",
        )
    template: Object = obj["spec"]["template"]
    return template


def _render_config_map(
    cluster: Cluster, namespace: str, original: str, name: str, texts: Mapping[ConfigMapKey, bytes]
) -> Object:
    """Return a copy of the original ConfigMap with the new texts."""
    obj = cluster.get("ConfigMap", original, namespace) or {}
    data = dict(obj.get("data") or {})
    data |= {target.key: text.decode() for target, text in texts.items() if target.name == original}
    config_map = new_object("v1", "ConfigMap", name, namespace, component=_COMPONENT)
    return (
        config_map
        | {"data": data}
        | ({"binaryData": obj["binaryData"]} if obj.get("binaryData") else {})
    )


def _render_pod(template: Object, namespace: str, name: str, names: Mapping[str, str]) -> Object:
    """Return a pod from the template that mounts the copies; ``names`` maps original → copy."""
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
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            config_map = source.get("configMap")
            if config_map and config_map.get("name") in names:
                config_map["name"] = names[config_map["name"]]
    pod = new_object("v1", "Pod", name, namespace, component=_COMPONENT) | {"spec": spec}
    if annotations := template.get("metadata", {}).get("annotations"):
        pod["metadata"]["annotations"] = annotations
    return pod


def _wait_until_loaded(cluster: Cluster, pod: Object) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    container = pod["spec"]["containers"][0]

    def is_loaded() -> bool:
        current = cluster.get("Pod", name, namespace) or {}
        if current.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
            log = cluster.tail_log(namespace, name, container["name"], lines=30).strip()
            raise RefusedError(
                "CoreDNS cannot load the new Corefile; nothing was written",
                why=log or explain_pod(cluster, namespace, name),
                next_step="look at the difference with --dry-run, and for anything unusual in the "
                "Corefile",
            )
        if is_stuck(current):
            raise UnfitError(
                "the new Corefile cannot be tried: a pod like CoreDNS's own does not start",
                why=explain_pod(cluster, namespace, name),
                next_step="fix what keeps it from starting, then run this again",
            )
        if container.get("readinessProbe"):
            return is_ready(current)
        return _BANNER in cluster.tail_log(namespace, name, container["name"])

    try:
        wait_until(
            is_loaded,
            deadline=cluster.deadline.within(_TIMEOUT_SECONDS),
            what="the trial CoreDNS is ready",
            max_interval=0.5,
        )
    except WaitTimeout as timeout:
        raise UnfitError(
            "the new Corefile cannot be tried: a pod like CoreDNS's own is not ready in time",
            why=explain_pod(cluster, namespace, name),
            next_step="fix what keeps it from being ready, then run this again",
        ) from timeout
