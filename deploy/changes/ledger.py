"""The ledger: one ConfigMap in kube-system for each target that was changed.

mirror/ledger.py defines the format. The original bytes can be restored without this tool:

    kubectl -n kube-system get configmap NAME -o jsonpath='{.binaryData.base}' | base64 -d
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    ObjectSpec,
    Target,
)
from deploy.cluster.access import list_permissions
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name
from deploy.manifests.model import MANAGED_BY, NAME, new_object
from mirror.core.codec import dump
from mirror.core.errors import MirrorError, RefusedError
from mirror.ledger import (
    CONTENT_NAMES,
    DamagedEntryError,
    NewerEntryError,
    decode_entry,
    encode_entry,
)
from mirror.snapshot import WriteConflict

NAMESPACE = "kube-system"
_COMPONENT = "ledger"
_LABEL = "app.kubernetes.io/component"
_MAX_BYTES = 675_000  # a ConfigMap holds 1 MiB, and base64 turns 3 bytes into 4
PERMISSIONS = list_permissions("get list create update delete", "configmaps", NAMESPACE)

# the stored name of each kind of target is that of its class
_TARGETS: Mapping[str, Callable[..., Target]] = {
    kind.__name__: kind for kind in (ConfigMapKey, ObjectSpec, NodeFile, NodeSysctl)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry and the version of its ConfigMap, which is empty if there is none yet."""

    entry: LedgerEntry
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedEntry:
    """A ConfigMap with the ledger's labels that nothing is done with, and why.

    ``newer``: a newer version of mirror stored it, so that it most likely has a change in place.
    """

    name: str
    error: RefusedError
    newer: bool = False


def is_ledger_entry(config_map: Object) -> bool:
    """Whether a ConfigMap is an entry, by its label."""
    return bool(config_map["metadata"].get("labels", {}).get(_LABEL) == _COMPONENT)


class Ledger:
    """Reads and writes the entries. Each write is a compare-and-swap."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read_all(self) -> list[StoredEntry]:
        """Return all entries. Raises RefusedError if one cannot be used."""
        entries, rejected = self.scan()
        if rejected:
            raise rejected[0].error
        return entries

    def scan(self) -> tuple[list[StoredEntry], list[RejectedEntry]]:
        """Return all entries, and the ConfigMaps among them that cannot be used."""
        selector = f"{MANAGED_BY}={NAME},{_LABEL}={_COMPONENT}"
        entries, rejected = [], []
        for config_map in self._cluster.list("ConfigMap", NAMESPACE, labels=selector):
            try:
                entries.append(_decode(config_map))
            except RefusedError as error:
                newer = isinstance(error.__cause__, NewerEntryError)
                rejected.append(RejectedEntry(name=get_name(config_map), error=error, newer=newer))
        return entries, rejected

    def read(self, target: Target) -> StoredEntry | None:
        """Return the entry of a target, or None. Raises RefusedError if it was altered."""
        config_map = self._cluster.get("ConfigMap", config_map_name(target), NAMESPACE)
        return _decode(config_map) if config_map else None

    def put(self, entry: LedgerEntry, expected: StoredEntry | None) -> StoredEntry:
        """Replace the ``expected`` entry. Raises WriteConflict if something else is stored."""
        config_map = _encode(entry)
        try:
            if expected is None or not expected.version:
                return _decode(self._cluster.create(config_map))
            config_map["metadata"]["resourceVersion"] = expected.version
            return _decode(self._cluster.replace(config_map))
        except ApiError as error:
            if error.status in {404, 409}:
                raise WriteConflict(f"ledger of {entry.target}") from error
            raise

    def delete(self, stored: StoredEntry) -> None:
        """Remove an entry. Does nothing if it is gone; raises WriteConflict if it changed."""
        try:
            name = config_map_name(stored.entry.target)
            self._cluster.delete("ConfigMap", name, NAMESPACE, resource_version=stored.version)
        except ApiError as error:
            if error.status == 409:
                raise WriteConflict(f"ledger of {stored.entry.target}") from error
            raise


def config_map_name(target: Target) -> str:
    """Return the name of the ConfigMap that holds the entry of a target."""
    identity = json.dumps([type(target).__name__, dump(target)], sort_keys=True)
    return f"{NAME}-ledger-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _encode(entry: LedgerEntry) -> Object:
    contents = {name: getattr(entry, name) for name in CONTENT_NAMES}
    size = sum(len(content) for content in contents.values() if content is not None)
    if size > _MAX_BYTES:
        raise RefusedError(
            f"{entry.target} is too large to be stored in the ledger",
            why=f"it has {size} bytes, and a ConfigMap holds at most 1 MiB",
            next_step="edit it by hand",
        )
    fields: Object = {
        "kind": type(entry.target).__name__,
        "target": dump(entry.target),
        "edits": [_encode_edit(applied) for applied in entry.edits],
        "pending": entry.pending,
        "frame": entry.metadata,
        "at": entry.at,
        "by": entry.by,
        "tool_version": entry.tool_version,
    }
    if entry.undone:
        fields["undone"] = [_encode_edit(applied) for applied in entry.undone]
    if entry.trimmed:
        fields["trimmed"] = True
    name = config_map_name(entry.target)
    config_map = new_object("v1", "ConfigMap", name, NAMESPACE, component=_COMPONENT)
    config_map["metadata"]["annotations"] = {"pypi-mirror/target": str(entry.target)}
    return config_map | encode_entry(fields, contents)


def _encode_edit(applied: AppliedEdit) -> Object:
    fields: Object = dump(applied)
    return {**fields.pop("edit"), **fields}


def _decode_edit(fields: Object) -> AppliedEdit:
    edit = Edit(fix=fields["fix"], options=fields["options"])
    return AppliedEdit(edit=edit, step=fields["step"], steps=fields["steps"], why=fields["why"])


def _decode(config_map: Object) -> StoredEntry:
    meta = config_map["metadata"]
    try:
        stored = decode_entry(config_map)
        fields = stored.fields
        entry = LedgerEntry(
            target=_TARGETS[fields["kind"]](**fields["target"]),
            edits=tuple(_decode_edit(edit) for edit in fields["edits"]),
            undone=tuple(_decode_edit(edit) for edit in fields.get("undone", ())),
            pending=fields["pending"],
            metadata=fields["frame"],
            at=fields["at"],
            by=fields["by"],
            tool_version=fields["tool_version"],
            trimmed=bool(fields.get("trimmed")),
            **stored.contents,
        )
        if config_map_name(entry.target) != meta["name"]:
            raise DamagedEntryError(f"it is about {entry.target}, whose copy has another name")
    except NewerEntryError as error:
        raise RefusedError(
            f"the stored copy in ConfigMap {NAMESPACE}/{meta['name']} was made by a newer version "
            "of mirror",
            why=f"{error}; it is kept, and nothing is changed based on it",
            next_step="use the version that made it, or a newer one",
        ) from error
    except (DamagedEntryError, AttributeError, KeyError, TypeError, ValueError, MirrorError) as e:
        why = str(e) if isinstance(e, DamagedEntryError) else f"it cannot be read ({e!r})"
        name = meta["name"]
        raise RefusedError(
            f"the stored copy in ConfigMap {NAMESPACE}/{name} is damaged",
            why=f"{why}; nothing is changed based on it",
            next_step="restore the ConfigMap from a backup of the cluster; or, if its target is as "
            f"you want it, kubectl -n {NAMESPACE} delete configmap {name}",
        ) from e
    return StoredEntry(entry=entry, version=meta["resourceVersion"])
