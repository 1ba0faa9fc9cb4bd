"""Kubernetes objects: those that every lab has, and small helpers for building and reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from tests.cluster import versions
from tests.cluster.options import REGISTRY_PORT, Site

NO_PROVISIONER = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "nobody"},
    "provisioner": "example.org/nobody",
}
"""A storage class without a provisioner: its claims stay Pending."""

FOLDER = Path(__file__).parent / "yaml"


def render_objects(site: Site) -> str:
    """Return CoreDNS, the StorageClass and the registry as one YAML stream."""
    values = {
        "COREDNS_IMAGE": versions.COREDNS_IMAGE,
        "PROVISIONER_IMAGE": versions.PROVISIONER_IMAGE,
        "REGISTRY_IMAGE": versions.REGISTRY_IMAGE,
        "BUSYBOX_IMAGE": versions.BUSYBOX_IMAGE,
        "DNS_SERVICE": str(site.dns_service),
        "REGISTRY_PORT": str(REGISTRY_PORT),
    }
    files = sorted(FOLDER.glob("*.yaml"))
    return "\n---\n".join(Template(file.read_text()).substitute(values) for file in files)


def render_list(objects: Iterable[Any]) -> str:
    """Return objects as one JSON List, for `kubectl apply -f -`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def has_condition(obj: Any, condition: str) -> bool:
    """Whether a condition of an object, such as Ready, is true."""
    conditions = obj.get("status", {}).get("conditions", [])
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def build_cluster_role(name: str, rules: list[Any], subject: Any) -> list[dict[str, Any]]:
    """Return a ClusterRole and the ClusterRoleBinding that gives it to subject."""
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    binding = {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    return [{**head, "kind": "ClusterRole", "rules": rules}, {**head, **binding}]


def build_deployment(
    name: str, namespace: str, image: str, command: list[str], **container: Any
) -> dict[str, Any]:
    """Return a Deployment of one pod that uses an image on the node; container has more fields."""
    labels = {"app": name}
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        **container,
    }
    pod_spec = {"terminationGracePeriodSeconds": 0, "containers": [main]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        },
    }
