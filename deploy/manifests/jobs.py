"""Work beside the mirror, by its own image: pods and Jobs. Pure."""

from __future__ import annotations

import base64

from deploy.manifests.model import CLAIM_NAME, ClusterSettings, Object, build_labels, new_object
from deploy.manifests.pods import render_probe_pod

WARM_COMPONENT = "warm"  # component of the Jobs that fill the cache
REQUEST_KEY = "order"
_DATA = "/data"
_ORDER = "/etc/mirror/order"


def render_verify_pod(
    settings: ClusterSettings, *, name: str, node: str, repair: bool, root_url: str
) -> Object:
    """A pod beside the volume that hashes it. ``node`` runs the mirror: a volume may be one
    node's alone; empty where the mirror is down, then the volume decides."""
    command = ["python3", "-m", "mirror.store.verify", "--data", _DATA, "--root", root_url]
    command += ["--repair"] if repair else []
    pod = render_probe_pod(settings, name=name, node=node, command=command)
    pod["metadata"]["labels"] = build_labels("verify")
    spec = pod["spec"]
    if not node:
        del spec["nodeName"]
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": CLAIM_NAME}})
    spec["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": _DATA})
    return pod


def render_warm_job(
    settings: ClusterSettings, *, name: str, index_url: str, concurrency: int
) -> Object:
    """A Job that asks for everything that the ConfigMap of its own name lists.

    It ends with what is there and what is missing in its log, which stays for a day.
    """
    command = ["python3", "-m", "mirror.warm", "--index", index_url]
    command += ["--order", f"{_ORDER}/{REQUEST_KEY}", "--at-once", str(concurrency)]
    spec = render_probe_pod(settings, name=name, node="", command=command)["spec"]
    del spec["nodeName"], spec["tolerations"]
    spec["volumes"].append({"name": "order", "configMap": {"name": name}})
    mount = {"name": "order", "mountPath": _ORDER, "readOnly": True}
    spec["containers"][0]["volumeMounts"].append(mount)
    job = new_object("batch/v1", "Job", name, settings.namespace)
    job["metadata"]["labels"] = build_labels(WARM_COMPONENT)
    return job | {
        "spec": {
            "backoffLimit": 3,  # a node that is lost; the mirror itself is waited for
            "ttlSecondsAfterFinished": 24 * 3600,
            "template": {"metadata": {"labels": build_labels(WARM_COMPONENT)}, "spec": spec},
        }
    }


def render_request_map(settings: ClusterSettings, *, name: str, content: bytes) -> Object:
    """What a warming reads."""
    made = new_object("v1", "ConfigMap", name, settings.namespace)
    made["metadata"]["labels"] = build_labels(WARM_COMPONENT)
    return made | {"binaryData": {REQUEST_KEY: base64.b64encode(content).decode()}}
