"""The resource types that the API serves.

They are written out here and not taken from the product, whose paths are under test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One plural of one API version. ``generation`` means that the server counts spec changes."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    generation: bool = False
    custom: bool = False  # defined by a CustomResourceDefinition
    create_on_update: bool = False  # PUT creates what does not exist
    needs_version: bool = False  # PUT needs a resourceVersion

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def qualified_name(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"


def _workload(api_version: str, plural: str, kind: str) -> ResourceType:
    return ResourceType(api_version, plural, kind, has_status=True, generation=True)


def _custom(api_version: str, plural: str, kind: str) -> ResourceType:
    return ResourceType(
        api_version,
        plural,
        kind,
        namespaced=False,
        generation=True,
        custom=True,
        needs_version=True,
    )


_RBAC = "rbac.authorization.k8s.io/v1"

BUILT_IN = (
    ResourceType("v1", "configmaps", "ConfigMap"),
    ResourceType("v1", "events", "Event", create_on_update=True),
    ResourceType("v1", "namespaces", "Namespace", namespaced=False, has_status=True),
    ResourceType("v1", "nodes", "Node", namespaced=False, has_status=True),
    ResourceType("v1", "persistentvolumeclaims", "PersistentVolumeClaim", has_status=True),
    ResourceType("v1", "persistentvolumes", "PersistentVolume", namespaced=False, has_status=True),
    ResourceType("v1", "pods", "Pod", has_status=True, generation=True),
    ResourceType("v1", "secrets", "Secret"),
    ResourceType("v1", "serviceaccounts", "ServiceAccount"),
    ResourceType("v1", "services", "Service", has_status=True),
    _workload("apps/v1", "daemonsets", "DaemonSet"),
    _workload("apps/v1", "deployments", "Deployment"),
    _workload("apps/v1", "replicasets", "ReplicaSet"),
    _workload("apps/v1", "statefulsets", "StatefulSet"),
    _workload("batch/v1", "cronjobs", "CronJob"),
    _workload("batch/v1", "jobs", "Job"),
    ResourceType(
        "coordination.k8s.io/v1", "leases", "Lease", create_on_update=True, needs_version=True
    ),
    ResourceType("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", generation=True),
    ResourceType("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", generation=True),
    ResourceType(_RBAC, "clusterroles", "ClusterRole", namespaced=False),
    ResourceType(_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    ResourceType(_RBAC, "roles", "Role"),
    ResourceType(_RBAC, "rolebindings", "RoleBinding"),
    ResourceType("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False),
)

# Calico with the storage of its own CRDs, its API server in front of them, and its operator
CALICO_V1 = (
    _custom("crd.projectcalico.org/v1", "felixconfigurations", "FelixConfiguration"),
    _custom("crd.projectcalico.org/v1", "ippools", "IPPool"),
)
CALICO_V3 = (
    _custom("projectcalico.org/v3", "felixconfigurations", "FelixConfiguration"),
    _custom("projectcalico.org/v3", "ippools", "IPPool"),
)
TIGERA = (_custom("operator.tigera.io/v1", "installations", "Installation"),)
