"""Find Calico's own objects in the API.

Calico stores them as crd.projectcalico.org/v1, and its API server, if there is one, serves the same
objects as projectcalico.org/v3. From 3.31 on it can be installed to store them as that v3.
"""

from __future__ import annotations

from contextlib import suppress

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_container

CALICO_NAMESPACES = ("kube-system", "calico-system")  # by manifest (MicroK8s too), by the operator
CALICO_NODE = "calico-node"
_V3_GROUP = "projectcalico.org"
_V3_VARIABLE = {"name": "CALICO_API_GROUP", "value": f"{_V3_GROUP}/v3"}  # read by Calico's programs


def list_calico_objects(cluster: Cluster, kind: str) -> tuple[str, list[Object]] | None:
    """All objects of a kind, and the key of API_RESOURCES that they were found by.

    Of the two APIs, that is the one with any objects. None if neither API has such objects; raises
    ApiError if neither may be read.
    """
    kinds = [kind, f"{kind}.{_V3_GROUP}"]
    empty: tuple[str, list[Object]] | None = None
    errors: list[ApiError] = []
    for key in reversed(kinds) if _stores_v3(cluster) else kinds:
        try:
            objects = cluster.list(key)
        except ApiError as error:
            errors.append(error)
            continue
        if objects:
            return key, objects
        empty = empty or (key, objects)
    if empty is None:
        for refusal in errors:
            if refusal.status != 404:
                raise refusal
    return empty


def find_current_kind(cluster: Cluster, kind: str) -> str:
    """The key by which an object found as ``kind`` is read now: Calico may have been migrated."""
    v3_kind = f"{kind}.{_V3_GROUP}"
    if v3_kind not in API_RESOURCES:
        return kind
    if _stores_v3(cluster):
        return v3_kind
    try:
        cluster.list(kind)
    except ApiError as error:
        return v3_kind if error.status == 404 else kind
    return kind


def _stores_v3(cluster: Cluster) -> bool:
    """Whether objects are stored as v3; after a migration outdated ones may remain in v1."""
    for namespace in CALICO_NAMESPACES:
        with suppress(ApiError):
            daemon_set = cluster.get("DaemonSet", CALICO_NODE, namespace)
            variables = get_container(daemon_set, CALICO_NODE).get("env", ()) if daemon_set else ()
            if _V3_VARIABLE in variables:
                return True
    return False
