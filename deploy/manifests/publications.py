"""The record of the namespaces that a mirror was published in, and the mark of each publication.

The record is a ConfigMap in kube-system: whoever may edit the mirror's namespace must not choose
where an administrator's `mirror up` and `mirror down --purge` write. Each published ConfigMap has
an annotation that names its mirror.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deploy.manifests.mirror_objects import render_config_map, render_environment_map
from deploy.manifests.model import NAME, Object
from mirror.core.errors import RefusedError
from mirror.settings import Endpoint

RECORD_NAMESPACE = "kube-system"
OWNER_ANNOTATION = "pypi-mirror/owner"
_KEY = "publications.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorIdentity:
    """A mirror: its namespace, and the namespace's uid, which a later namespace does not have."""

    namespace: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.uid}"


def record_name(namespace: str) -> str:
    """Return the name of the record of the mirror in this namespace."""
    return f"{NAME}-published-{namespace}"


def render_publications(mirror: MirrorIdentity, namespaces: Iterable[str]) -> Object:
    document = {"mirror": str(mirror), "namespaces": sorted(set(namespaces))}
    text = json.dumps(document, sort_keys=True, indent=1)
    return render_config_map(RECORD_NAMESPACE, record_name(mirror.namespace), {_KEY: text})


def parse_publications(config_map: Object) -> tuple[str, ...]:
    """Return the recorded namespaces. Raises RefusedError if they cannot be read."""
    try:
        names: Any = json.loads(config_map["data"][_KEY])["namespaces"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("namespaces is not a list of names")
    except (KeyError, TypeError, ValueError) as error:
        name = config_map["metadata"]["name"]
        raise RefusedError(
            f"cannot read where the mirror was published (ConfigMap {RECORD_NAMESPACE}/{name})",
            why=f"{type(error).__name__}: {error}",
            next_step=f"kubectl -n {RECORD_NAMESPACE} delete configmap {name}; then publish again: "
            "mirror env --publish NAMESPACE…",
        ) from error
    return tuple(names)


def render_publication(namespace: str, endpoint: Endpoint, mirror: MirrorIdentity) -> Object:
    """Return the environment as a ConfigMap that says which mirror it is of."""
    config_map = render_environment_map(namespace, endpoint)
    config_map["metadata"]["annotations"] = {OWNER_ANNOTATION: str(mirror)}
    return config_map


def read_owner(config_map: Object) -> MirrorIdentity | None:
    """Return the mirror that a publication names; None for one of mirror 0.1.0."""
    text = str((config_map["metadata"].get("annotations") or {}).get(OWNER_ANNOTATION, ""))
    namespace, _, uid = text.partition("/")
    return MirrorIdentity(namespace=namespace, uid=uid) if namespace else None
