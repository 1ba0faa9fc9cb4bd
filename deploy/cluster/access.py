"""Ask the API server what the user of this context may do."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `deploy.changes.model` needs Permission, but not the Kubernetes client
    from deploy.cluster.client import Cluster

_PARALLEL_REVIEWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One verb on one resource; ``namespace`` None means the whole cluster."""

    verb: str
    resource: str  # plural, with its group or subresource if needed: pods/log
    namespace: str | None = None

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {self.resource} {where}"


def list_permissions(
    verbs: str, resource: str, namespace: str | None = None
) -> tuple[Permission, ...]:
    """Return a permission for each of the verbs, which are separated by spaces."""
    return tuple(Permission(verb=v, resource=resource, namespace=namespace) for v in verbs.split())


def review_permissions(cluster: Cluster, permissions: Iterable[Permission]) -> list[bool]:
    """Whether each permission is granted, in the given order; the requests run in parallel."""

    def review(permission: Permission) -> bool:
        return cluster.is_allowed(permission.verb, permission.resource, permission.namespace)

    with ThreadPoolExecutor(_PARALLEL_REVIEWS) as pool:
        return list(pool.map(review, permissions))


def find_missing(cluster: Cluster, permissions: Iterable[Permission]) -> list[Permission]:
    """The permissions that are not granted, in the given order."""
    asked = list(permissions)
    granted = review_permissions(cluster, asked)
    return [each for each, is_granted in zip(asked, granted, strict=True) if not is_granted]
