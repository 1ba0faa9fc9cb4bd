"""Where a mirror was published, and whose the ConfigMap pypi-mirror-env in a namespace is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.cluster.client import FIELD_MANAGER, ApiError, Cluster, Object
from deploy.manifests.model import ENV_MAP, MANAGED_BY, NAME, is_ours
from deploy.manifests.publications import (
    RECORD_NAMESPACE,
    MirrorIdentity,
    parse_publications,
    read_owner,
    record_name,
)
from deploy.manifests.record import MirrorRecord

_INDEX = "UV_DEFAULT_INDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationOwner:
    """Whose a ConfigMap pypi-mirror-env is. ``why`` describes the owner, if it is not ours."""

    whose: Literal["ours", "another mirror's", "not a mirror's"]
    why: str = ""


def read_identity(cluster: Cluster, namespace: str) -> MirrorIdentity:
    """Return the identity of the mirror in this namespace."""
    obj = cluster.get("Namespace", namespace) or {"metadata": {}}
    return MirrorIdentity(namespace=namespace, uid=obj["metadata"].get("uid", ""))


def read_published_namespaces(
    cluster: Cluster, namespace: str, record: MirrorRecord
) -> tuple[str, ...]:
    """Return where the mirror was published.

    As recorded in kube-system; before there is such a record, the namespaces in ``record`` (mirror
    0.1.0) whose ConfigMap that version wrote for this very mirror.
    """
    try:
        stored = cluster.get("ConfigMap", record_name(namespace), RECORD_NAMESPACE)
    except ApiError as error:
        if error.status != 403:
            raise
        stored = None  # this user recorded nothing there
    if stored is not None:
        return parse_publications(stored)
    return tuple(name for name in record.published if _was_published_by(cluster, name, record))


def find_owner(
    cluster: Cluster, config_map: Object, mirror: MirrorIdentity, record: MirrorRecord
) -> PublicationOwner:
    """Return whose a ConfigMap pypi-mirror-env is."""
    if not is_ours(config_map):
        return PublicationOwner(
            whose="not a mirror's", why=f"it does not carry the label {MANAGED_BY}={NAME}"
        )
    owner = read_owner(config_map)
    if owner is None:
        url = (config_map.get("data") or {}).get(_INDEX, "")
        holder = _find_mirror_at(cluster, url, mirror)
        if record.endpoint is None or url == record.endpoint.url or not holder:
            return PublicationOwner(whose="ours")
        return PublicationOwner(
            whose="another mirror's", why=f"it leads to the mirror in namespace {holder} ({url})"
        )
    if owner.namespace == mirror.namespace:
        return PublicationOwner(whose="ours")
    current = cluster.get("Namespace", owner.namespace)
    if current is None or current["metadata"].get("uid", "") != owner.uid:
        return PublicationOwner(whose="ours")  # its mirror is gone
    return PublicationOwner(
        whose="another mirror's",
        why=f"its annotation names the mirror in namespace {owner.namespace}",
    )


def _was_published_by(cluster: Cluster, namespace: str, record: MirrorRecord) -> bool:
    """Return whether the ConfigMap there was written by `mirror env --publish` of this mirror.

    The record of 0.1.0 can be edited in the mirror's namespace, so the ConfigMap decides.
    """
    config_map = cluster.get("ConfigMap", ENV_MAP, namespace)
    if config_map is None or not is_ours(config_map) or read_owner(config_map) is not None:
        return False
    managers = config_map["metadata"].get("managedFields") or ()
    if FIELD_MANAGER not in {m.get("manager") for m in managers if m.get("operation") == "Apply"}:
        return False
    url = (config_map.get("data") or {}).get(_INDEX, "")
    return record.endpoint is not None and url == record.endpoint.url


def _find_mirror_at(cluster: Cluster, url: str, mirror: MirrorIdentity) -> str:
    """Return the namespace of another mirror whose Service has the address of this URL."""
    try:
        services = cluster.list("Service", labels=f"app.kubernetes.io/name={NAME}")
    except ApiError:
        return ""
    for service in services:
        address, namespace = service["spec"].get("clusterIP"), service["metadata"]["namespace"]
        if namespace != mirror.namespace and address and f"//{address}:" in url:
            return str(namespace)
    return ""
