"""The API server, and the permissions of the user of this context that doctor needs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from deploy.cluster.access import Permission, review_permissions
from deploy.cluster.client import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview(Permission):
    """Whether this user has a permission. ``purpose`` is what cannot be seen without it."""

    allowed: bool
    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The API server's version and response time in seconds, and this user's permissions."""

    version: str  # e.g. v1.34.4
    seconds: float
    rights: tuple[AccessReview, ...]


_SYSTEM = "kube-system"
_MIRROR_NAMESPACE = "{}"
# (verb, resource, namespace or None for all namespaces, purpose)
REQUIRED_ACCESS: tuple[tuple[str, str, str | None, str], ...] = (
    ("list", "nodes", None, "the nodes"),
    ("list", "pods", None, "workloads"),
    ("get", "pods/log", None, "logs of workloads"),
    ("list", "events", None, "why pods do not start"),
    ("get", "services", _SYSTEM, "the DNS Service"),
    ("list", "pods", _SYSTEM, "the DNS pods"),
    ("get", "configmaps", _SYSTEM, "the Corefile and Calico's configuration"),
    ("list", "configmaps", _SYSTEM, "the state of the fixes"),
    ("get", "deployments", _SYSTEM, "the reconciler of the fixes"),
    ("get", "namespaces", None, "a namespace for the probe pods"),
    ("get", "configmaps", _MIRROR_NAMESPACE, "the mirror's record"),
    ("get", "services", _MIRROR_NAMESPACE, "the mirror's address"),
    ("get", "statefulsets", _MIRROR_NAMESPACE, "the mirror"),
    ("get", "persistentvolumeclaims", _MIRROR_NAMESPACE, "the mirror's volume"),
    ("create", "pods", _MIRROR_NAMESPACE, "probe pods"),
    ("delete", "pods", _MIRROR_NAMESPACE, "probe pods"),
)


def read_access(cluster: Cluster, namespace: str) -> Access:
    """Measure the API server and review all permissions; ``namespace`` is the mirror's."""
    start = time.monotonic()
    version = cluster.version()
    seconds = time.monotonic() - start
    reviews = [
        AccessReview(
            verb=verb,
            resource=resource,
            namespace=namespace if scope == _MIRROR_NAMESPACE else scope,
            allowed=False,
            purpose=purpose,
        )
        for verb, resource, scope, purpose in REQUIRED_ACCESS
    ]
    granted = review_permissions(cluster, reviews)
    rights = tuple(
        replace(review, allowed=allowed) for review, allowed in zip(reviews, granted, strict=True)
    )
    return Access(version=version, seconds=round(seconds, 2), rights=rights)
