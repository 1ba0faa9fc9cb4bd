"""Work beside the mirror, by its own image: pods and Jobs. Pure."""

from __future__ import annotations

from deploy.manifests.model import CLAIM, ClusterSettings, Object, labels
from deploy.manifests.pods import probe_pod

_DATA = "/data"


def verify_pod(
    settings: ClusterSettings, *, name: str, node: str, repair: bool, root: str
) -> Object:
    """A pod beside the volume that hashes it. ``node`` runs the mirror: a volume may be one
    node's alone; empty where the mirror is down, then the volume decides."""
    command = ["python3", "-m", "mirror.store.verify", "--data", _DATA, "--root", root]
    command += ["--repair"] if repair else []
    pod = probe_pod(settings, name=name, node=node, command=command)
    pod["metadata"]["labels"] = labels("verify")
    spec = pod["spec"]
    if not node:
        del spec["nodeName"]
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}})
    spec["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": _DATA})
    return pod
