"""Whether a workload's pods are all of its newest template."""

from __future__ import annotations

from deploy.cluster.client import Object


def is_rolled_out(workload: Object, generation: int) -> bool:
    """A Deployment, StatefulSet or DaemonSet, since its spec was of this generation."""
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < generation:
        return False
    if "desiredNumberScheduled" in status:
        wanted = status["desiredNumberScheduled"]
        return bool(status.get("updatedNumberScheduled") == wanted == status.get("numberReady"))
    wanted = workload["spec"].get("replicas", 1)
    counts = [status.get(one, 0) for one in ("updatedReplicas", "readyReplicas", "replicas")]
    return counts == [wanted] * 3
