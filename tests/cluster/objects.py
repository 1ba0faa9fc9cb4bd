"""Kubernetes objects: those that every lab has, and small helpers for building and reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from tests.cluster import versions
from tests.cluster.options import REGISTRY_PORT, Site

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
