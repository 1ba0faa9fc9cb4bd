"""Workloads started before `pod-sysctl` is applied: one of each kind, and a single pod."""

from __future__ import annotations

from typing import Any

from tests.cluster import versions
from tests.cluster.lab import Lab

NAMESPACE = "older"


def start(lab: Lab) -> None:
    """Create the workloads and wait until their pods are ready."""
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.apply(*_build_objects())
    for name in ("deployment/web", "statefulset/base", "daemonset/each"):
        status = ("rollout", "status", name, "--timeout=120s")
        lab.kubectl("-n", NAMESPACE, *status, timeout=130)
    ready = ("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    lab.kubectl("-n", NAMESPACE, *ready, timeout=70)


def read_disable_ipv6(lab: Lab) -> dict[str, set[str]]:
    """Return workload → values of the kernel's disable_ipv6 in its pods that are not ending."""
    values: dict[str, set[str]] = {}
    for pod in lab.get_items("pods", "-n", NAMESPACE):
        metadata = pod["metadata"]
        if "deletionTimestamp" not in metadata:
            read = ("cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6")
            value = lab.kubectl("-n", NAMESPACE, "exec", metadata["name"], "--", *read).strip()
            values.setdefault(metadata["labels"]["app"], set()).add(value)
    return values


def _build_objects() -> list[Any]:
    alone = {"name": "alone", "namespace": NAMESPACE, "labels": {"app": "alone"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": alone, "spec": _build_pod_spec()}
    return [
        _build_workload("Deployment", "web", replicas=2),
        _build_workload("StatefulSet", "base", serviceName="base"),
        _build_workload("DaemonSet", "each"),
        pod,
    ]


def _build_workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": _build_pod_spec()}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def _build_pod_spec() -> dict[str, Any]:
    command = ["tail", "-f", "/dev/null"]
    container = {"name": "c", "image": versions.BUSYBOX_IMAGE, "command": command}
    return {"containers": [container], "terminationGracePeriodSeconds": 0}
