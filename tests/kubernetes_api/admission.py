"""What the API server fills in, and what it refuses to create or to change."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.errors import StatusError, forbidden, invalid
from tests.kubernetes_api.resources import ResourceType

SERVICE_RANGE = ipaddress.ip_network("10.152.183.0/24")
IMMUTABLE = "field is immutable"

_MAX_BYTES = 1 << 20  # of a ConfigMap

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ROLES = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}  # any path segment
_LABEL_NAMES = {"Namespace", "Service"}

# what the status is before a controller writes it
_EMPTY_STATUS: dict[str, Any] = {
    "CronJob": {},
    "DaemonSet": dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0
    ),
    "Deployment": {},
    "Job": {},
    "Service": {"loadBalancer": {}},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
}

# StatefulSet: the only fields of `spec` that can change
_STATEFUL_SET_FIELDS = {
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
}
_POD_FIELDS = {"activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations"}


# -- defaults -------------------------------------------------------------------------------------


def set_defaults(obj: Any, old: Any | None, used_ips: set[str]) -> None:
    """Fill in the defaults of a new or changed object, in place."""
    kind, spec = obj["kind"], obj.get("spec")
    if kind in _EMPTY_STATUS:
        obj.setdefault("status", clone(_EMPTY_STATUS[kind]))
    match kind:
        case "Service":
            _set_service_defaults(spec, (old or {}).get("spec") or {}, used_ips)
        case "Deployment" | "StatefulSet" | "ReplicaSet":
            spec.setdefault("replicas", 1)
            if kind != "ReplicaSet":
                spec.setdefault("revisionHistoryLimit", 10)
            _set_template_defaults(spec)
            if kind == "Deployment":
                rolling: Any = {"maxSurge": "25%", "maxUnavailable": "25%"}
                strategy = spec.setdefault("strategy", {})
                if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
                    strategy["rollingUpdate"] = rolling | (strategy.get("rollingUpdate") or {})
                spec.setdefault("progressDeadlineSeconds", 600)
            if kind == "StatefulSet":
                spec.setdefault("podManagementPolicy", "OrderedReady")
                spec.setdefault("serviceName", "")
                strategy = spec.setdefault("updateStrategy", {})
                if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
                    strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
                policy = {"whenDeleted": "Retain", "whenScaled": "Retain"}
                spec.setdefault("persistentVolumeClaimRetentionPolicy", policy)
        case "DaemonSet":
            spec.setdefault("revisionHistoryLimit", 10)
            strategy = spec.setdefault("updateStrategy", {})
            if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
                rolling = {"maxSurge": 0, "maxUnavailable": 1}
                strategy["rollingUpdate"] = rolling | (strategy.get("rollingUpdate") or {})
            _set_template_defaults(spec)
        case "Job":
            for key, value in (("backoffLimit", 6), ("completions", 1), ("parallelism", 1)):
                spec.setdefault(key, value)
            spec.setdefault("completionMode", "NonIndexed")
            spec.setdefault("suspend", False)
            _set_job_selector(obj)
            _set_template_defaults(spec)
        case "Pod":
            _set_pod_defaults(spec)
            obj.setdefault("status", {}).setdefault("phase", "Pending")
        case "PersistentVolumeClaim":
            spec.setdefault("volumeMode", "Filesystem")
            obj.setdefault("status", {}).setdefault("phase", "Pending")
        case "Namespace":
            obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            obj.setdefault("status", {}).setdefault("phase", "Active")
            labels = obj["metadata"].setdefault("labels", {})
            labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
        case "Secret":
            obj.setdefault("type", "Opaque")
            for key, text in (obj.pop("stringData", None) or {}).items():
                encoded = base64.b64encode(text.encode()).decode()
                obj.setdefault("data", {})[key] = encoded


def _set_service_defaults(spec: Any, old: Any, used_ips: set[str]) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = old.get("clusterIP") or next(
            str(ip) for ip in list(SERVICE_RANGE.hosts())[1:] if str(ip) not in used_ips
        )
    if spec["clusterIP"] != "None":
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec["clusterIPs"] = [spec["clusterIP"]]


def _set_job_selector(obj: Any) -> None:
    """Select the pods of the job by its uid, as the server does."""
    spec, uid = obj["spec"], obj["metadata"].get("uid", "")
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    names = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
    names |= dict.fromkeys(("batch.kubernetes.io/job-name", "job-name"), obj["metadata"]["name"])
    for key, value in names.items():
        labels.setdefault(key, value)
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    spec.setdefault("selector", selector)


def _set_template_defaults(spec: Any) -> None:
    template = spec.get("template") or {}
    if template.get("spec"):
        _set_pod_defaults(template["spec"])


def _set_pod_defaults(spec: Any) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if "@" not in image and tag in {"", "latest"} else "IfNotPresent"


# -- validation -----------------------------------------------------------------------------------


def validate(resource: ResourceType, obj: Any, used_ips: set[str] | None = None) -> None:
    """Raise StatusError 422 for an object that the server would not store.

    A new Service can have none of ``used_ips``.
    """
    name = obj["metadata"]["name"]
    causes = _check_name(resource.kind, name)
    match resource.kind:
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet":
            causes += _check_workload(obj["spec"])
        case "Service":
            causes += _check_service(obj["spec"], used_ips or set())
        case "ConfigMap":
            causes += _check_size(obj)
            both = (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys()
            causes += [(f"data[{key}]", "duplicate of key present in binaryData") for key in both]
    if causes:
        raise invalid(resource, name, *causes)


def _check_name(kind: str, name: str) -> list[tuple[str, str]]:
    if kind in _ROLES:
        is_valid = name not in {".", ".."} and not set("/%") & set(name)
    else:
        pattern, limit = (_LABEL, 63) if kind in _LABEL_NAMES else (_SUBDOMAIN, 253)
        is_valid = pattern.fullmatch(name) is not None and len(name) <= limit
    text = f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case '
    text += "alphanumeric characters, '-' or '.'"
    return [] if is_valid else [("metadata.name", text)]


def _check_workload(spec: Any) -> list[tuple[str, str]]:
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    causes = []
    if not spec.get("selector"):
        causes.append(("spec.selector", "Required value"))
    elif not selector.items() <= labels.items():
        text = "Invalid value: `selector` does not match template `labels`"
        causes.append(("spec.template.metadata.labels", text))
    if not (template.get("spec") or {}).get("containers"):
        causes.append(("spec.template.spec.containers", "Required value"))
    return causes


def _check_service(spec: Any, used_ips: set[str]) -> list[tuple[str, str]]:
    ip = spec.get("clusterIP")
    if not ip or ip == "None":
        return []
    try:
        is_valid = ipaddress.ip_address(ip) in SERVICE_RANGE
    except ValueError:
        text = f"Invalid value: \"{ip}\": must be empty, 'None', or a valid IP address"
        return [("spec.clusterIPs[0]", text)]
    text = f'Invalid value: ["{ip}"]: failed to allocate IP {ip}: '
    text += f"the provided IP ({ip}) is not in the valid range. "
    text += f"The range of valid IPs is {SERVICE_RANGE}"
    if is_valid and ip in used_ips:
        text = f'Invalid value: ["{ip}"]: failed to allocate IP {ip}: '
        return [("spec.clusterIPs", text + "provided IP is already allocated")]
    return [] if is_valid else [("spec.clusterIPs", text)]


def _check_size(config_map: Any) -> list[tuple[str, str]]:
    size = sum(len(value.encode()) for value in (config_map.get("data") or {}).values())
    binary = (config_map.get("binaryData") or {}).values()
    size += sum(len(base64.b64decode(value)) for value in binary)
    text = f"Too long: may not be more than {_MAX_BYTES} bytes"
    return [("", text)] if size > _MAX_BYTES else []


def validate_change(resource: ResourceType, new: Any, old: Any) -> None:
    """Raise StatusError 422 for a change of a field that cannot change."""
    name = new["metadata"]["name"]
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    causes: list[tuple[str, str]] = []
    finalizers = set(new["metadata"].get("finalizers") or ())
    if old["metadata"].get("deletionTimestamp") and (
        added := finalizers - set(old["metadata"].get("finalizers") or ())
    ):
        text = "Forbidden: no new finalizers can be added if the object is being deleted, found "
        causes.append(("metadata.finalizers", f"{text}new finalizers {sorted(added)}"))
    match resource.kind:
        case "StatefulSet":
            if _without(spec, _STATEFUL_SET_FIELDS) != _without(old_spec, _STATEFUL_SET_FIELDS):
                text = "Forbidden: updates to statefulset spec for fields other than 'replicas', "
                text += "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                text += "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
                causes.append(("spec", text))
        case "Deployment" | "DaemonSet" | "ReplicaSet":
            causes += _compare(spec, old_spec, "selector")
        case "Job":
            causes += _compare(spec, old_spec, "selector", "template", "completions")
        case "Service":
            if spec.get("clusterIP") != old_spec.get("clusterIP") and (
                old_spec.get("type") != "ExternalName" and spec.get("type") != "ExternalName"
            ):
                text = "Invalid value: may not change once set"
                causes.append(("spec.clusterIPs[0]", text))
        case "ConfigMap" | "Secret":
            causes += _check_immutable(new, old)
        case "Pod":
            causes += _check_pod_change(spec, old_spec)
        case "PersistentVolumeClaim":
            changeable = {"volumeName"} if not old_spec.get("volumeName") else set()
            if old.get("status", {}).get("phase") == "Bound":
                changeable |= {"resources", "volumeAttributesClassName"}
            if _without(spec, changeable) != _without(old_spec, changeable):
                text = "Forbidden: spec is immutable after creation except "
                text += "resources.requests and volumeAttributesClassName for bound claims"
                causes.append(("spec", text))
        case "RoleBinding" | "ClusterRoleBinding":
            if new.get("roleRef") != old.get("roleRef"):
                causes.append(("roleRef", "Invalid value: cannot change roleRef"))
        case "StorageClass":
            causes += _compare(new, old, "parameters", "provisioner", "reclaimPolicy", prefix="")
        case "IPPool" if resource.group == "projectcalico.org":
            if spec.get("cidr") != old_spec.get("cidr"):
                causes.append(("IPPool.Spec.CIDR", "Invalid value: IPPool CIDR cannot be modified"))
    if causes:
        raise invalid(resource, name, *causes)


def validate_claim_size(resource: ResourceType, new: Any, old: Any, classes: Iterable[Any]) -> None:
    """Raise StatusError if a claim grows whose storage class does not allow it, or shrinks."""
    sizes = [_get_size(claim) for claim in (new, old)]
    if sizes[0] == sizes[1]:
        return
    name = new["metadata"]["name"]
    class_name = new["spec"].get("storageClassName")
    expandable = {each["metadata"]["name"] for each in classes if each.get("allowVolumeExpansion")}
    if sizes[0] > sizes[1] and class_name not in expandable:
        why = "only dynamically provisioned pvc can be resized and the storageclass that "
        raise forbidden(resource, name, f"{why}provisions the pvc must support resize")
    capacity = (old.get("status") or {}).get("capacity") or {}
    if sizes[0] < _parse_size(capacity.get("storage", "0")):
        text = "Forbidden: field can not be less than status.capacity"
        raise invalid(resource, name, ("spec.resources.requests.storage", text))


def _get_size(claim: Any) -> int:
    """Return the requested bytes."""
    return _parse_size(claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0"))


def _parse_size(text: str) -> int:
    number, unit = text.rstrip("KMGTi"), text.lstrip("0123456789")
    return int(number) << {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}[unit]


def set_default_class(claim: Any, classes: Iterable[Any]) -> None:
    """Give a new claim without a storage class the default one, in place."""
    for each in classes:
        annotations = each["metadata"].get("annotations") or {}
        if annotations.get("storageclass.kubernetes.io/is-default-class") == "true":
            claim["spec"].setdefault("storageClassName", each["metadata"]["name"])


def _without(spec: Any, names: set[str]) -> Any:
    return {key: value for key, value in spec.items() if key not in names}


def _compare(new: Any, old: Any, *names: str, prefix: str = "spec.") -> list[tuple[str, str]]:
    changed = [name for name in names if new.get(name) != old.get(name)]
    return [(f"{prefix}{name}", f"Invalid value: {IMMUTABLE}") for name in changed]


def _check_immutable(new: Any, old: Any) -> list[tuple[str, str]]:
    text = f"Forbidden: {IMMUTABLE} when `immutable` is set"
    causes = []
    if old.get("immutable"):
        names = ("immutable", "data", "binaryData")
        causes = [(name, text) for name in names if new.get(name) != old.get(name)]
    if new["kind"] == "Secret" and new.get("type") != old.get("type"):
        causes.append(("type", f"Invalid value: {IMMUTABLE}"))
    return causes


def _check_pod_change(spec: Any, old: Any) -> list[tuple[str, str]]:
    new, old = clone(_without(spec, _POD_FIELDS)), _without(old, _POD_FIELDS)
    old = clone(old)
    for each in (new, old):
        for container in [*(each.get("initContainers") or ()), *(each.get("containers") or ())]:
            container.pop("image", None)
    text = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    return [] if new == old else [("spec", text)]


def require_namespace(resource: ResourceType, obj: Any, namespace: Any | None) -> None:
    """Raise StatusError if the namespace of a new object does not exist or is being deleted."""
    name = obj["metadata"]["namespace"]
    if namespace is None:
        details = {"name": name, "kind": "namespaces"}
        raise StatusError(404, "NotFound", f'namespaces "{name}" not found', details)
    if namespace["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {name} because it is being terminated"
        raise forbidden(resource, obj["metadata"]["name"], why)
