"""Where the objects of each kind stand in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the objects of a kind stand in the API."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """As kubectl is told it where several groups have one."""
        return f"{self.plural}.{self.group}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        middle = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


# One that stands in two APIs has the group of the other in its key, as kubectl would write it.
KINDS: Mapping[str, Kind] = {
    "ConfigMap": Kind("v1", "configmaps"),
    "ClusterRole": Kind("rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind(
        "rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False
    ),
    "CronJob": Kind("batch/v1", "cronjobs"),
    "DaemonSet": Kind("apps/v1", "daemonsets"),
    "Deployment": Kind("apps/v1", "deployments"),
    "EndpointSlice": Kind("discovery.k8s.io/v1", "endpointslices"),
    "Event": Kind("v1", "events"),
    "FelixConfiguration": Kind("crd.projectcalico.org/v1", "felixconfigurations", namespaced=False),
    "FelixConfiguration.projectcalico.org": Kind(
        "projectcalico.org/v3", "felixconfigurations", namespaced=False
    ),
    "Installation": Kind("operator.tigera.io/v1", "installations", namespaced=False),
    "IPPool": Kind("crd.projectcalico.org/v1", "ippools", namespaced=False),
    "IPPool.projectcalico.org": Kind("projectcalico.org/v3", "ippools", namespaced=False),
    "Job": Kind("batch/v1", "jobs"),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "Node": Kind("v1", "nodes", namespaced=False),
    "PersistentVolume": Kind("v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "Pod": Kind("v1", "pods"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "Role": Kind("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Kind("v1", "secrets"),
    "Service": Kind("v1", "services"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
}

_GROUPS = {KINDS[key].plural: KINDS[key].group for key in KINDS if "." not in key}


def named(key: str) -> str:
    """What an object of it says as its kind."""
    return key.partition(".")[0]


def of(obj: Mapping[str, Any]) -> Kind:
    """Where an object stands, by its own kind and version."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return KINDS.get(f"{obj['kind']}.{group}") or KINDS[obj["kind"]]


def right(key: str) -> str:
    """What a Right calls it: the plural, with the group where the key has it."""
    return KINDS[key].resource if "." in key else KINDS[key].plural


def split(resource: str) -> tuple[str, str]:
    """Plural and group of what a Right names."""
    plural, _, group = resource.partition(".")
    return plural, group or _GROUPS[plural]
