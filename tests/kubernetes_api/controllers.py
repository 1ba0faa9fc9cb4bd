"""Small controllers and a kubelet, which tests turn on one by one.

    api.after_write += [roll_out_workloads, finish_namespaces]

Each is a function of the API that brings everything it looks after up to date.
"""

from __future__ import annotations

from typing import Any

from tests.kubernetes_api.memory import MemoryApi

NODE = "node-1"
_COUNTS = ("replicas", "updatedReplicas", "readyReplicas")


def roll_out_workloads(api: MemoryApi) -> None:
    """Report every Deployment, StatefulSet and DaemonSet as rolled out, without pods."""
    nodes = max(len(api.list_objects("Node")), 1)
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        for obj in api.list_objects(kind):
            generation = obj["metadata"]["generation"]
            if obj.get("status", {}).get("observedGeneration") == generation:
                continue
            obj["status"] = {"observedGeneration": generation} | (
                {
                    "desiredNumberScheduled": nodes,
                    "updatedNumberScheduled": nodes,
                    "numberReady": nodes,
                }
                if kind == "DaemonSet"
                else dict.fromkeys(_COUNTS, obj["spec"]["replicas"])
            )
            if kind == "StatefulSet":
                obj["status"]["updateRevision"] = f"revision-{generation}"
            api.store.put(api.find_resource(obj), obj)


def run_stateful_set_pods(api: MemoryApi) -> None:
    """Run the first pod of every StatefulSet, Ready, at its newest revision."""
    for workload in api.list_objects("StatefulSet"):
        metadata = workload["metadata"]
        name, namespace = f"{metadata['name']}-0", metadata["namespace"]
        revision = workload.get("status", {}).get("updateRevision", "")
        if not workload["spec"]["replicas"]:
            continue
        if api.has("Pod", name, namespace):
            labels = api.read("Pod", name, namespace)["metadata"].get("labels") or {}
            if labels.get("controller-revision-hash") == revision:
                continue
            api.remove("Pod", name, namespace)
        nodes = [node["metadata"]["name"] for node in api.list_objects("Node")]
        labels = {"controller-revision-hash": revision}
        api.seed(make_pod(workload, name, (nodes or [NODE])[0], labels))


def run_daemon_set_pods(api: MemoryApi) -> None:
    """Run one pod of every DaemonSet on each node."""
    for workload in api.list_objects("DaemonSet"):
        namespace = workload["metadata"]["namespace"]
        for node in api.list_objects("Node"):
            node_name = node["metadata"]["name"]
            name = f"{workload['metadata']['name']}-{node_name}"
            if api.has("Pod", name, namespace):
                api.remove("Pod", name, namespace)
            api.seed(make_pod(workload, name, node_name))


def make_pod(
    workload: Any, name: str, node: str, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a running, Ready pod of a workload."""
    template, metadata = workload["spec"]["template"], workload["metadata"]
    owner = {"apiVersion": workload["apiVersion"], "kind": workload["kind"]}
    owner |= {"name": metadata["name"], "uid": metadata["uid"], "controller": True}
    statuses = [
        {"name": each["name"], "ready": True, "restartCount": 0, "image": each["image"]}
        | {"state": {"running": {"startedAt": metadata["creationTimestamp"]}}}
        for each in template["spec"]["containers"]
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**(template.get("metadata", {}).get("labels") or {}), **(labels or {})},
            "ownerReferences": [owner],
        },
        "spec": {**template["spec"], "nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": statuses,
            "startTime": metadata["creationTimestamp"],
        },
    }


def bind_claims(api: MemoryApi) -> None:
    """Bind every volume claim to a volume of the size that it requests."""
    for claim in api.list_objects("PersistentVolumeClaim"):
        requested = claim["spec"]["resources"]["requests"]
        status = {"phase": "Bound", "capacity": requested}
        if claim.get("status") != status:
            claim["status"] = status
            claim["spec"].setdefault("volumeName", f"volume-{claim['metadata']['uid']}")
            api.store.put(api.find_resource(claim), claim)


def finish_namespaces(api: MemoryApi) -> None:
    """Remove the content of namespaces that are being deleted, then the namespaces."""
    for namespace in api.list_objects("Namespace"):
        if not namespace["metadata"].get("deletionTimestamp"):
            continue
        name = namespace["metadata"]["name"]
        for obj in list(api.store.values()):
            if obj["metadata"].get("namespace") == name:
                api.store.remove(api.find_resource(obj), name, obj["metadata"]["name"])
        api.remove("Namespace", name)


def end_pods(api: MemoryApi) -> None:
    """Remove the pods that are being deleted, as their kubelet does."""
    for pod in api.list_objects("Pod"):
        if pod["metadata"].get("deletionTimestamp"):
            api.remove("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])


def collect_garbage(api: MemoryApi) -> None:
    """Remove the objects whose owners are all gone."""
    uids = {obj["metadata"]["uid"] for obj in api.store.values()}
    for obj in list(api.store.values()):
        owners = obj["metadata"].get("ownerReferences") or ()
        if owners and not any(owner["uid"] in uids for owner in owners):
            metadata = obj["metadata"]
            namespace = metadata.get("namespace", "")
            api.store.remove(api.find_resource(obj), namespace, metadata["name"])


def create_default_accounts(api: MemoryApi) -> None:
    """Give every namespace its ServiceAccount `default`."""
    for namespace in api.list_objects("Namespace"):
        name = namespace["metadata"]["name"]
        if not api.has("ServiceAccount", "default", name):
            metadata = {"name": "default", "namespace": name}
            api.seed({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
