"""The settings of a mirror in a cluster, and the names and labels that its objects carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirror.core.codec import Object as Object
from mirror.index_rules import IndexRules
from mirror.settings import DEFAULT_PORT

NAME = "pypi-mirror"  # of most objects, and the value of app.kubernetes.io/name
CLAIM_NAME = f"{NAME}-data"
CA_MAP = f"{NAME}-ca"
PROXY_MAP = f"{NAME}-front"
RECORD_MAP = f"{NAME}-record"
ENV_MAP = f"{NAME}-env"  # in the namespaces of workloads
POD_NAME = f"{NAME}-0"
MANAGED_BY = "app.kubernetes.io/managed-by"
LINUX = {"kubernetes.io/os": "linux"}  # the label of the nodes that can run pods of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The settings that the mirror's objects are rendered from."""

    image: str
    image_is_0_1: bool = False  # the image has the module names of version 0.1
    namespace: str = NAME
    port: int = DEFAULT_PORT
    node_port: int | None = None
    size: str = "20Gi"  # a Kubernetes quantity
    storage_class: str | None = None  # None: the cluster's default
    node: str | None = None  # None: the scheduler chooses
    pull_secret: str | None = None  # of the registry that has the image
    upstream: str | None = None  # None: devpi's default; the one whose files are at /packages
    upstreams: Sequence[str] = ()  # all of them, if there are several
    pins: Sequence[str] = ()  # PROJECT=UPSTREAM
    min_age: str | None = None  # of public files, such as 7d
    allow: Sequence[str] = ()  # public projects, their patterns or versions
    deny: Sequence[str] = ()
    allow_hosts: Sequence[str] = ()  # host names of an Ingress
    ca_pem: str | None = None
    cluster_ip: str | None = None  # None: the cluster chooses
    cluster_cidrs: tuple[str, ...] = ()  # the mirror may not connect to these
    monitoring: bool = False  # annotations for Prometheus, a dashboard and alerts

    @property
    def rules(self) -> IndexRules:
        """Which public packages are served. Raises InputError if the settings contradict."""
        return IndexRules(
            upstreams=tuple(self.upstreams),
            pins=tuple(self.pins),
            min_age=self.min_age,
            allow=tuple(self.allow),
            deny=tuple(self.deny),
        )


def is_ours(obj: Object) -> bool:
    """Whether the labels of an object say that this program made it."""
    return bool(obj["metadata"].get("labels", {}).get(MANAGED_BY) == NAME)


def build_labels(component: str = "index") -> dict[str, str]:
    """The labels of our objects."""
    return {**build_selector(component), MANAGED_BY: NAME}


def build_selector(component: str = "index") -> dict[str, str]:
    """The labels that select the pods of a component."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": component}


def new_object(
    api_version: str, kind: str, name: str, namespace: str | None, *, component: str = "index"
) -> Object:
    """An object with name and labels but no content; ``namespace`` None: a cluster-wide one."""
    metadata: Object = {"name": name, "namespace": namespace, "labels": build_labels(component)}
    if namespace is None:
        del metadata["namespace"]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
