"""Applied fixes, and the reconciler that `mirror fix --keep` left in the cluster."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_waiting_reasons, is_rolled_out, list_pods
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.reconciler import read_options
from mirror.core.codec import json_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target that is not as a fix left it."""

    target: str
    state: str  # drifted, partial, unknown
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixStatus:
    """An applied fix. ``targets`` are those that are not as the fix left them."""

    fix: str
    state: str  # applied, drifted, partial, unknown
    reapply_command: str = field(default="", metadata=json_key("again"))
    targets: tuple[TargetStatus, ...] = field(default=(), metadata=json_key("unlike"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerState:
    """The reconciler; ``trouble`` says why it does not run."""

    running: bool
    trouble: str = ""


def read_reconciler(cluster: Cluster) -> ReconcilerState | None:
    """Return the reconciler's state; None if there is no reconciler."""
    deployment = cluster.get("Deployment", RECONCILER_NAME, SYSTEM_NAMESPACE)
    if deployment is None:
        return None
    if is_running(deployment):
        return ReconcilerState(running=True)
    reasons: set[str] = set()
    with suppress(ApiError):  # the reasons are optional: it is reported as not running in any case
        for pod in list_pods(cluster, deployment, SYSTEM_NAMESPACE):
            reasons.update(get_waiting_reasons(pod).values())
    return ReconcilerState(running=False, trouble=", ".join(sorted(reasons)))


def is_running(deployment: Object) -> bool:
    """Whether the reconciler runs. It needs no pod if it only reconciles targets on nodes."""
    is_stopped = read_options(deployment) and not deployment["spec"].get("replicas", 1)
    return not is_stopped and is_rolled_out(deployment, deployment["metadata"]["generation"])
