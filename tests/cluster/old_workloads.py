"""Workloads that run before `pod-sysctl`: one of each kind that can be rolled, and a pod."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster import versions
from tests.cluster.lab import Lab

NAMESPACE = "older"


def start(lab: Lab) -> None:
    """Make them, and wait until they run."""
    spaced = ("-n", NAMESPACE)
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.kubectl("apply", "-f", "-", stdin=json.dumps({**_LIST, "items": list(_objects())}))
    for name in ("deployment/web", "statefulset/base", "daemonset/each"):
        lab.kubectl(*spaced, "rollout", "status", name, "--timeout=120s", timeout=130)
    lab.kubectl(*spaced, "wait", "--for=condition=Ready", "pod/alone", "--timeout=60s", timeout=70)


def read_disable_ipv6(lab: Lab) -> dict[str, set[str]]:
    """Workload → disable_ipv6 in those of its pods that stay, as the kernel says."""
    found: dict[str, set[str]] = {}
    for pod in json.loads(lab.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]:
        meta = pod["metadata"]
        if "deletionTimestamp" not in meta:
            look = ("exec", meta["name"], "--", "cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6")
            said = lab.kubectl("-n", NAMESPACE, *look).strip()
            found.setdefault(meta["labels"]["app"], set()).add(said)
    return found


_LIST: dict[str, Any] = {"apiVersion": "v1", "kind": "List"}


def _objects() -> list[Any]:
    def pod(name: str) -> dict[str, Any]:
        container = {
            "name": "c",
            "image": versions.BUSYBOX_IMAGE,
            "command": ["tail", "-f", "/dev/null"],
        }
        meta = {"labels": {"app": name}}
        return {"metadata": meta, "spec": {"containers": [container], **_SOON}}

    def workload(kind: str, name: str, **more: Any) -> dict[str, Any]:
        labels = {"app": name}
        spec = {"selector": {"matchLabels": labels}, "template": pod(name), **more}
        meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}

    alone = pod("alone")
    return [
        workload("Deployment", "web", replicas=2),
        workload("StatefulSet", "base", serviceName="base"),
        workload("DaemonSet", "each"),
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "alone", "namespace": NAMESPACE, **alone["metadata"]},
            "spec": alone["spec"],
        },
    ]


_SOON = {"terminationGracePeriodSeconds": 0}
