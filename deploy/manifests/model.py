"""What a mirror in a cluster is told, and the names and labels its objects carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from mirror.settings import DEFAULT_PORT

Object: TypeAlias = dict[str, Any]

NAME = "pypi-mirror"  # of every object, and the value of app.kubernetes.io/name
CLAIM_NAME = f"{NAME}-data"
CA_MAP = f"{NAME}-ca"
PROXY_MAP = f"{NAME}-front"
RECORD_MAP = f"{NAME}-record"
ENV_MAP = f"{NAME}-env"  # in the namespaces of the workloads
POD_NAME = f"{NAME}-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What a mirror in a cluster is told. ``size`` is a Kubernetes quantity."""

    image: str
    namespace: str = NAME
    port: int = DEFAULT_PORT
    node_port: int | None = None
    size: str = "20Gi"
    storage_class: str | None = None  # None: the cluster's default
    node: str | None = None  # None: wherever the scheduler puts it
    upstream: str | None = None  # None: devpi's own default
    ca_pem: str | None = None
    pull_policy: str = "IfNotPresent"
    cluster_ip: str | None = None  # asked for again, once there was one
    cluster_cidrs: tuple[str, ...] = ()  # CIDRs of the cluster that the mirror must not reach


MANAGED_BY = "app.kubernetes.io/managed-by"


def is_ours(obj: Object) -> bool:
    """Whether we made this object, by its label."""
    return bool(obj["metadata"].get("labels", {}).get(MANAGED_BY) == NAME)


def build_labels(component: str = "index") -> dict[str, str]:
    """The labels that our objects carry."""
    return {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/component": component,
        MANAGED_BY: NAME,
    }


def build_selector() -> dict[str, str]:
    chosen = build_labels()
    return {key: chosen[key] for key in ("app.kubernetes.io/name", "app.kubernetes.io/component")}


def new_object(api_version: str, kind: str, name: str, namespace: str) -> Object:
    meta: Object = {"name": name, "namespace": namespace, "labels": build_labels()}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}
