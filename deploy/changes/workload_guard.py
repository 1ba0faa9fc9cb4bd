"""Refuse to write into a workload what no edit of ours ever changes.

An entry of the ledger may be forged so that its edits explain it and a merge still puts a part of
it back, such as a container (with `--force`, where somebody has changed the same list). Containers,
images, commands, volumes and rights therefore stay as they are in the cluster, whatever is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy.changes.attachment import KINDS, get_pod_spec
from deploy.changes.model import ObjectSpec, Target
from deploy.manifests.model import ENV_MAP
from mirror.core.errors import RefusedError
from mirror.merge import decode_spec

# variables of calico-node that `fix ippool` and `fix host-sysctl` set or remove
_VARIABLES = {"IP6", "NO_DEFAULT_POOLS", "CALICO_IPV4POOL_CIDR", "CALICO_IPV6POOL_CIDR"}
_INDEX_SOURCE = {"configMapRef": {"name": ENV_MAP}}


def is_workload(target: Target) -> bool:
    """Return whether pods run from the target."""
    return isinstance(target, ObjectSpec) and target.kind in KINDS


def check_workload_change(target: Target, before: bytes | None, after: bytes | None) -> None:
    """Raise RefusedError if a workload would get more than edits of ours change."""
    if not isinstance(target, ObjectSpec) or not is_workload(target):
        return
    if before is None or after is None:
        return
    if _keep_foreign(target.kind, before) != _keep_foreign(target.kind, after):
        raise RefusedError(
            f"{target} is not written: the stored copy would change more than mirror ever does",
            why="only variables, the reference to the mirror's environment and ndots may differ; "
            "its containers were changed since, or the copy was forged",
            next_step="undo the change by hand, as `--dry-run` shows it, then run this again",
        )


def _keep_foreign(kind: str, content: bytes) -> Any:
    """Return a spec without what edits of ours set."""
    spec = decode_spec(content)
    pod = get_pod_spec(kind, spec)
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        _filter(container, "env", lambda item: item.get("name") not in _VARIABLES)
        _filter(container, "envFrom", lambda item: item != _INDEX_SOURCE)
    dns = pod.get("dnsConfig") or {}
    _filter(dns, "options", lambda item: item.get("name") != "ndots")
    if not dns:
        pod.pop("dnsConfig", None)
    return spec


def _filter(owner: Any, key: str, keep: Callable[[Any], bool]) -> None:
    """Remove items of a list in place, and the list if nothing is left."""
    kept = [item for item in owner.get(key) or () if keep(item)]
    owner.pop(key, None)
    if kept:
        owner[key] = kept
