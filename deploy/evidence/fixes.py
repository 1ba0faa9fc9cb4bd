"""The keeper that `mirror fix --keep` left in the cluster."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_waiting_reasons, is_rolled_out, list_pods
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.reconciler import read_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target that is not as a fix left it."""

    target: str
    state: str  # drifted, partial, unknown
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixStatus:
    """A fix that was made, and how it stands; ``again`` is the command that brings it back."""

    fix: str
    state: str  # applied, drifted, partial, unknown
    again: str = ""
    unlike: tuple[TargetStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerState:
    """The keeper that `mirror fix --keep` left in the cluster; ``trouble`` says why it is down."""

    running: bool
    trouble: str = ""


def read_reconciler(cluster: Cluster) -> ReconcilerState | None:
    """None where there is none."""
    found = cluster.get("Deployment", RECONCILER_NAME, SYSTEM_NAMESPACE)
    if found is None:
        return None
    if is_running(found):
        return ReconcilerState(running=True)
    waits: set[str] = set()
    with suppress(ApiError):  # that it does not run is known all the same
        for pod in list_pods(cluster, found, SYSTEM_NAMESPACE):
            waits.update(get_waiting_reasons(pod).values())
    return ReconcilerState(running=False, trouble=", ".join(sorted(waits)))


def is_running(found: Object) -> bool:
    """Whether it does what it was told; where only nodes are kept it needs no pod."""
    stopped = read_targets(found) and not found["spec"].get("replicas", 1)
    return not stopped and is_rolled_out(found, found["metadata"]["generation"])
