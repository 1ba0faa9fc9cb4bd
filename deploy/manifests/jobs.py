"""Render pods and Jobs that run the mirror's image beside the mirror."""

from __future__ import annotations

import base64

from deploy.manifests.model import CLAIM_NAME, ClusterSettings, Object, build_labels, new_object
from deploy.manifests.pods import DATA_DIR, render_probe_pod

WARM_COMPONENT = "warm"
REQUEST_KEY = "order"  # in the ConfigMap that a warm Job reads
_REQUEST_DIR = "/etc/mirror/order"


def render_verify_pod(
    settings: ClusterSettings, *, name: str, node: str, repair: bool, root_url: str
) -> Object:
    """Render a pod that hashes the files on the mirror's volume.

    ``node`` is the node of the mirror's pod, because a volume may be mounted on one node only;
    empty if the mirror is down, then the scheduler chooses by the volume.
    """
    command = ["python3", "-m", "mirror.store.verify", "--data", str(DATA_DIR), "--root", root_url]
    command += ["--repair"] if repair else []
    pod = render_probe_pod(settings, name=name, node=node, command=command)
    pod["metadata"]["labels"] = build_labels("verify")
    spec = pod["spec"]
    if not node:
        del spec["nodeName"]
    spec["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": CLAIM_NAME}})
    mount = {"name": "data", "mountPath": str(DATA_DIR)}
    spec["containers"][0]["volumeMounts"].append(mount)
    return pod


def render_warm_job(
    settings: ClusterSettings, *, name: str, index_url: str, concurrency: int
) -> Object:
    """Render a Job that downloads what the ConfigMap of the same name lists through the mirror.

    Its log ends with what is cached and what is missing, and is kept for a day.
    """
    command = ["python3", "-m", "mirror.warm", "--index", index_url]
    command += ["--order", f"{_REQUEST_DIR}/{REQUEST_KEY}", "--at-once", str(concurrency)]
    spec = render_probe_pod(settings, name=name, node="", command=command)["spec"]
    del spec["nodeName"], spec["tolerations"]
    spec["volumes"].append({"name": "order", "configMap": {"name": name}})
    mount = {"name": "order", "mountPath": _REQUEST_DIR, "readOnly": True}
    spec["containers"][0]["volumeMounts"].append(mount)
    job = new_object("batch/v1", "Job", name, settings.namespace, component=WARM_COMPONENT)
    return job | {
        "spec": {
            "backoffLimit": 3,  # for a lost node; the program itself waits for the mirror
            "ttlSecondsAfterFinished": 24 * 3600,
            "template": {"metadata": {"labels": build_labels(WARM_COMPONENT)}, "spec": spec},
        }
    }


def render_request_map(settings: ClusterSettings, *, name: str, content: bytes) -> Object:
    config_map = new_object("v1", "ConfigMap", name, settings.namespace, component=WARM_COMPONENT)
    return config_map | {"binaryData": {REQUEST_KEY: base64.b64encode(content).decode()}}
