"""Read Kubernetes objects: conditions, container statuses, images, labels, rollouts, volumes."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.cluster.client import ApiError, Cluster, Object

# Reasons of `state.waiting` with which a container does not start until something is changed.
IMAGE_REASONS = frozenset(
    {"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"}
)
STUCK_REASONS = IMAGE_REASONS | {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}


def get_name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


# -- conditions -----------------------------------------------------------------------------------


def get_condition(obj: Object, condition_type: str) -> Object | None:
    conditions: list[Object] = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == condition_type), None)


def has_condition(obj: Object, condition_type: str) -> bool:
    condition = get_condition(obj, condition_type)
    return condition is not None and condition["status"] == "True"


def is_ready(obj: Object) -> bool:
    return has_condition(obj, "Ready")


# -- containers -----------------------------------------------------------------------------------


def get_containers(obj: Object) -> list[Object]:
    """The containers of a pod, or of the pod template of a workload."""
    spec = obj["spec"]
    containers: list[Object] = spec.get("template", {}).get("spec", spec)["containers"]
    return containers


def get_all_containers(spec: Object) -> list[Object]:
    """The containers of a pod spec, init containers first."""
    return [*(spec.get("initContainers") or ()), *spec["containers"]]


def get_container(obj: Object, name: str) -> Object:
    """The container of this name in a pod or a pod template; the first one if there is none."""
    containers = get_containers(obj)
    return next((each for each in containers if each["name"] == name), containers[0])


def get_image(obj: Object) -> str:
    """The image of the first container of a pod or a pod template."""
    return str(get_containers(obj)[0]["image"])


def get_image_id(pod: Object) -> str:
    """The digest of a pod's first container, as its kubelet reports it; empty before it runs."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return str(statuses[0].get("imageID", "")).rpartition("@")[2]


def get_container_statuses(pod: Object) -> list[Object]:
    """The statuses of all containers, init containers first; empty before the pod has started."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def get_waiting_reasons(pod: Object) -> dict[str, str]:
    """Container name → why it waits, e.g. ErrImagePull; init containers included."""
    return {
        status["name"]: reason
        for status in get_container_statuses(pod)
        if (reason := status.get("state", {}).get("waiting", {}).get("reason"))
    }


def is_stuck(pod: Object) -> bool:
    """Whether a container of the pod cannot start until something is changed."""
    return not STUCK_REASONS.isdisjoint(get_waiting_reasons(pod).values())


# -- nodes ----------------------------------------------------------------------------------------


def get_internal_ips(node: Object) -> tuple[str, ...]:
    addresses = node.get("status", {}).get("addresses") or ()
    return tuple(each["address"] for each in addresses if each["type"] == "InternalIP")


def get_pull_secret(workload: Object) -> str | None:
    """Return the Secret with which the nodes pull a workload's image; None if there is none."""
    secrets = workload["spec"]["template"]["spec"].get("imagePullSecrets") or ()
    return next((secret["name"] for secret in secrets), None)


def get_controller(obj: Object) -> Object | None:
    """Return the owner reference of the controller that keeps an object; None if it has none."""
    owners: list[Object] = obj.get("metadata", {}).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def explain_unusable(node: Object) -> str:
    """Return why no pod of ours can run on a node: another system, no kubelet; empty if one can."""
    info = node.get("status", {}).get("nodeInfo", {})
    labels = node["metadata"].get("labels") or {}
    system = info.get("operatingSystem") or labels.get("kubernetes.io/os") or "linux"
    if system != "linux":
        return f"runs {system}"
    taints = node.get("spec", {}).get("taints") or ()
    is_virtual = any(taint["key"] == "virtual-kubelet.io/provider" for taint in taints)
    if is_virtual or labels.get("type") == "virtual-kubelet":
        return "is virtual, without a kubelet"
    return ""


def read_volume_nodes(cluster: Cluster, claim: Object) -> tuple[str, ...]:
    """The nodes that the volume of a claim is bound to by its node affinity.

    Empty if any node can mount it, if there is no volume yet, or if volumes cannot be read.
    """
    name = claim["spec"].get("volumeName")
    try:
        volume = cluster.get("PersistentVolume", name) if name else None
    except ApiError:
        return ()
    required = ((volume or {}).get("spec", {}).get("nodeAffinity") or {}).get("required") or {}
    nodes: list[str] = []
    for term in required.get("nodeSelectorTerms", ()):
        for rule in [*term.get("matchExpressions", ()), *term.get("matchFields", ())]:
            if rule["key"] in {"kubernetes.io/hostname", "metadata.name"}:
                nodes += rule.get("values", ())
    return tuple(dict.fromkeys(nodes))


# -- workloads ------------------------------------------------------------------------------------


def is_rolled_out(workload: Object, generation: int) -> bool:
    """Whether all pods of a Deployment, StatefulSet or DaemonSet run this generation of it."""
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < generation:
        return False
    if "desiredNumberScheduled" in status:
        desired = status["desiredNumberScheduled"]
        return bool(status.get("updatedNumberScheduled") == desired == status.get("numberReady"))
    replicas = workload["spec"].get("replicas", 1)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas")]
    return counts == [replicas] * 3


def format_selector(labels: Mapping[str, str]) -> str:
    """Labels as a label selector of a query, e.g. app=web,tier=front."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def list_pods(cluster: Cluster, workload: Object, namespace: str) -> list[Object]:
    """The pods that a Deployment, StatefulSet or DaemonSet selects."""
    labels = workload["spec"]["selector"].get("matchLabels") or {}
    return cluster.list("Pod", namespace, labels=format_selector(labels))
