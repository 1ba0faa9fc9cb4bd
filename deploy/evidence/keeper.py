"""The keeper that `mirror fix --keep` left in the cluster."""

from __future__ import annotations

from contextlib import suppress

from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.explain import waiting_reasons
from deploy.cluster.rollout import rolled_out
from deploy.cluster.selection import pods_of
from deploy.evidence.things import KeeperState
from deploy.manifests.agent import HOME, KEEPER
from deploy.manifests.keeper import pages


def read_keeper(cluster: Cluster) -> KeeperState | None:
    """None where there is none."""
    found = cluster.get("Deployment", KEEPER, HOME)
    if found is None:
        return None
    if runs(found):
        return KeeperState(running=True)
    waits: set[str] = set()
    with suppress(ApiRefusal):  # that it does not run is known all the same
        for pod in pods_of(cluster, found, HOME):
            waits.update(waiting_reasons(pod).values())
    return KeeperState(running=False, trouble=", ".join(sorted(waits)))


def runs(found: Object) -> bool:
    """Whether it does what it was told; where only nodes are kept it needs no pod."""
    stopped = pages(found) and not found["spec"].get("replicas", 1)
    return not stopped and rolled_out(found, found["metadata"]["generation"])
