"""What the user of this context may do, as far as doctor needs it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from deploy.cluster.access import Permission, review_permissions
from deploy.cluster.client import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """Whether the user of this context may do something. ``namespace`` None: in all of them.

    ``purpose`` says what cannot be looked at without it.
    """

    verb: str
    resource: str  # plural, with its subresource: pods/log
    namespace: str | None
    allowed: bool
    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The API server, and what this user may do there. ``seconds``: its first answer took."""

    version: str  # e.g. v1.34.4
    seconds: float
    rights: tuple[AccessReview, ...]


_SYSTEM = "kube-system"
# (verb, resource, namespace or None for all of them, what it is for); {} is the mirror's namespace
REQUIRED_ACCESS: tuple[tuple[str, str, str | None, str], ...] = (
    ("list", "nodes", None, "the nodes"),
    ("list", "pods", None, "workloads"),
    ("get", "pods/log", None, "what workloads say"),
    ("list", "events", None, "why pods do not start"),
    ("get", "services", _SYSTEM, "the DNS Service"),
    ("list", "pods", _SYSTEM, "the DNS pods"),
    ("get", "configmaps", _SYSTEM, "the Corefile and Calico's configuration"),
    ("list", "configmaps", _SYSTEM, "how the fixes stand"),
    ("get", "deployments", _SYSTEM, "the keeper of the fixes"),
    ("get", "namespaces", None, "a home for the probe pods"),
    ("get", "configmaps", "{}", "the mirror's record"),
    ("get", "services", "{}", "the mirror's address"),
    ("get", "statefulsets", "{}", "the mirror"),
    ("get", "persistentvolumeclaims", "{}", "the mirror's volume"),
    ("create", "pods", "{}", "probe pods"),
    ("delete", "pods", "{}", "probe pods"),
)


def read_access(cluster: Cluster, namespace: str) -> Access:
    """One review for each right, side by side."""
    begun = time.monotonic()
    version = cluster.version()
    seconds = time.monotonic() - begun
    permissions = [
        Permission(verb=verb, resource=resource, namespace=namespace if where == "{}" else where)
        for verb, resource, where, _ in REQUIRED_ACCESS
    ]
    granted = review_permissions(cluster, permissions)
    rights = tuple(
        AccessReview(
            verb=permission.verb,
            resource=permission.resource,
            namespace=permission.namespace,
            allowed=is_granted,
            purpose=purpose,
        )
        for permission, is_granted, (*_, purpose) in zip(
            permissions, granted, REQUIRED_ACCESS, strict=True
        )
    )
    return Access(version=version, seconds=round(seconds, 2), rights=rights)
