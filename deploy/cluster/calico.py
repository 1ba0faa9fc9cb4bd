"""Where Calico's own objects are in the API.

Calico stores them as crd.projectcalico.org/v1, and its API server, where there is one, shows the
same as projectcalico.org/v3; or (from 3.31 on, if so installed) it stores them as that v3.
"""

from __future__ import annotations

from contextlib import suppress

from deploy.cluster.api_resources import API_RESOURCES
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_container

CALICO_NAMESPACES = ("kube-system", "calico-system")  # by manifest (MicroK8s too), by the operator
CALICO_NODE = "calico-node"
_V3 = "projectcalico.org"
_TOLD = {"name": "CALICO_API_GROUP", "value": f"{_V3}/v3"}  # what Calico's programs go by


def list_calico_objects(cluster: Cluster, kind: str) -> tuple[str, list[Object]] | None:
    """All objects of a kind, and the key (of KINDS) of the API that they were found in.

    That is the one of the two that shows any. None where neither knows such objects; raises
    ApiRefusal where neither may be read.
    """
    keys = [kind, f"{kind}.{_V3}"]
    none: tuple[str, list[Object]] | None = None
    refusals: list[ApiError] = []
    for key in reversed(keys) if _told_v3(cluster) else keys:
        try:
            found = cluster.list(key)
        except ApiError as refusal:
            refusals.append(refusal)
            continue
        if found:
            return key, found
        none = none or (key, found)
    for one in refusals:
        if none is None and one.status != 404:
            raise one
    return none


def find_current_kind(cluster: Cluster, kind: str) -> str:
    """The key by which what was found in ``key`` is reached now: Calico's store may have moved."""
    newer = f"{kind}.{_V3}"
    if newer not in API_RESOURCES:
        return kind
    if _told_v3(cluster):
        return newer
    try:
        cluster.list(kind)
    except ApiError as refusal:
        return newer if refusal.status == 404 else kind
    return kind


def _told_v3(cluster: Cluster) -> bool:
    """Whether v3 is the store: after a migration the objects of before may still be in v1."""
    for home in CALICO_NAMESPACES:
        with suppress(ApiError):
            daemon = cluster.get("DaemonSet", CALICO_NODE, home)
            if daemon and _TOLD in get_container(daemon, CALICO_NODE).get("env", ()):
                return True
    return False
