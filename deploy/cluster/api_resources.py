"""The paths of object kinds in the Kubernetes API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class ApiResource:
    """The API version and the plural name of an object kind."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def qualified_name(self) -> str:
        """PLURAL.GROUP, as kubectl accepts it where several API groups have the kind."""
        return f"{self.plural}.{self.group}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of one object, or of all objects of the kind if no name is given."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        in_namespace = self.namespaced and namespace
        middle = f"/namespaces/{quote(str(namespace), safe='')}" if in_namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


_RBAC = "rbac.authorization.k8s.io/v1"
_CALICO_V1, _CALICO_V3 = "crd.projectcalico.org/v1", "projectcalico.org/v3"

# A kind of a second API group has the group in its key, as kubectl writes it: KIND.GROUP.
API_RESOURCES: Mapping[str, ApiResource] = {
    "ConfigMap": ApiResource("v1", "configmaps"),
    "ClusterRole": ApiResource(_RBAC, "clusterroles", namespaced=False),
    "ClusterRoleBinding": ApiResource(_RBAC, "clusterrolebindings", namespaced=False),
    "CronJob": ApiResource("batch/v1", "cronjobs"),
    "DaemonSet": ApiResource("apps/v1", "daemonsets"),
    "Deployment": ApiResource("apps/v1", "deployments"),
    "EndpointSlice": ApiResource("discovery.k8s.io/v1", "endpointslices"),
    "Event": ApiResource("v1", "events"),
    "FelixConfiguration": ApiResource(_CALICO_V1, "felixconfigurations", namespaced=False),
    "FelixConfiguration.projectcalico.org": ApiResource(
        _CALICO_V3, "felixconfigurations", namespaced=False
    ),
    "Installation": ApiResource("operator.tigera.io/v1", "installations", namespaced=False),
    "IPPool": ApiResource(_CALICO_V1, "ippools", namespaced=False),
    "IPPool.projectcalico.org": ApiResource(_CALICO_V3, "ippools", namespaced=False),
    "Job": ApiResource("batch/v1", "jobs"),
    "Lease": ApiResource("coordination.k8s.io/v1", "leases"),
    "Namespace": ApiResource("v1", "namespaces", namespaced=False),
    "NetworkPolicy": ApiResource("networking.k8s.io/v1", "networkpolicies"),
    "Node": ApiResource("v1", "nodes", namespaced=False),
    "PersistentVolume": ApiResource("v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": ApiResource("v1", "persistentvolumeclaims"),
    "Pod": ApiResource("v1", "pods"),
    "ReplicaSet": ApiResource("apps/v1", "replicasets"),
    "Role": ApiResource(_RBAC, "roles"),
    "RoleBinding": ApiResource(_RBAC, "rolebindings"),
    "Secret": ApiResource("v1", "secrets"),
    "Service": ApiResource("v1", "services"),
    "ServiceAccount": ApiResource("v1", "serviceaccounts"),
    "StatefulSet": ApiResource("apps/v1", "statefulsets"),
    "StorageClass": ApiResource("storage.k8s.io/v1", "storageclasses", namespaced=False),
}

_GROUPS = {each.plural: each.group for key, each in API_RESOURCES.items() if "." not in key}


def kind_name(key: str) -> str:
    """The `kind` field of the objects with this key of API_RESOURCES."""
    return key.partition(".")[0]


def get_api_resource(obj: Mapping[str, Any]) -> ApiResource:
    """The resource of an object, by its kind and API version."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return API_RESOURCES.get(f"{obj['kind']}.{group}") or API_RESOURCES[obj["kind"]]


def get_permission_name(key: str) -> str:
    """The resource of a Permission: the plural name, with the group if the key has one."""
    resource = API_RESOURCES[key]
    return resource.qualified_name if "." in key else resource.plural


def split_permission_name(resource: str) -> tuple[str, str]:
    """The plural name and the API group of a Permission's resource."""
    plural, _, group = resource.partition(".")
    return plural, group or _GROUPS[plural]
