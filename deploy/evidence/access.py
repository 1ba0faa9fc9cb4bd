"""What the user of this context may do, as far as doctor needs it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from deploy.cluster.client import Cluster
from deploy.evidence.things import Access, AccessReview

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

    def one(asked: tuple[str, str, str | None, str]) -> AccessReview:
        verb, resource, where, purpose = asked
        where = namespace if where == "{}" else where
        allowed = cluster.is_allowed(verb, resource, where)
        return AccessReview(
            verb=verb, resource=resource, namespace=where, allowed=allowed, purpose=purpose
        )

    with ThreadPoolExecutor(8) as pool:
        rights = tuple(pool.map(one, REQUIRED_ACCESS))
    return Access(version=version, seconds=round(seconds, 2), rights=rights)
