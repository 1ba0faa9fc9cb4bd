"""The ledger: one ConfigMap in kube-system for each target that was changed.

In it stand the exact bytes (base64, under binaryData: base, written, intended), what is known about
them (data: entry.json), and a checksum over both. So that a person can restore without this tool:

    kubectl -n kube-system get configmap NAME -o jsonpath='{.binaryData.base}' | base64 -d
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    ObjectSpec,
    Target,
    digest,
)
from deploy.cluster.access import Permission
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.model import MANAGED_BY, NAME, build_labels
from mirror.core.codec import dump
from mirror.core.errors import MirrorError, RefusedError
from mirror.snapshot import WriteConflict

NAMESPACE = "kube-system"
_COMPONENT = "ledger"
_LABEL = "app.kubernetes.io/component"
_LIMIT = 900_000  # bytes of content; a ConfigMap holds 1 MiB, and base64 makes 3 bytes 4
_BLOBS = ("base", "written", "intended")
PERMISSIONS = tuple(
    Permission(verb=verb, resource="configmaps", namespace=NAMESPACE)
    for verb in ("get", "list", "create", "update", "delete")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """An entry and the version of the ConfigMap it stands in; empty where there is none yet."""

    entry: LedgerEntry
    version: str = ""


_TARGETS: Mapping[str, Callable[..., Target]] = {
    one.__name__: one for one in (ConfigMapKey, ObjectSpec, NodeFile, NodeSysctl)
}


class Ledger:
    """Reads and writes the entries; each write is a compare-and-swap."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read_all(self) -> list[StoredEntry]:
        """All entries. Raises RefusedError for one that was altered."""
        chosen = f"{MANAGED_BY}={NAME},{_LABEL}={_COMPONENT}"
        return [_page(one) for one in self._cluster.list("ConfigMap", NAMESPACE, labels=chosen)]

    def read(self, target: Target) -> StoredEntry | None:
        """The entry of one target, or None. Raises RefusedError for one that was altered."""
        found = self._cluster.get("ConfigMap", config_map_name(target), NAMESPACE)
        return _page(found) if found else None

    def put(self, entry: LedgerEntry, expected: StoredEntry | None) -> StoredEntry:
        """Write an entry over the one that was seen. Raises Moved where that is not there now."""
        body = _body(entry)
        try:
            if expected is None or not expected.version:
                return _page(self._cluster.create(body))
            body["metadata"]["resourceVersion"] = expected.version
            return _page(self._cluster.replace(body))
        except ApiError as refusal:
            if refusal.status in {404, 409}:
                raise WriteConflict(f"ledger of {entry.target}") from refusal
            raise

    def delete(self, page: StoredEntry) -> None:
        """Remove an entry that was seen; Moved where it changed, nothing where it is gone."""
        try:
            name = config_map_name(page.entry.target)
            self._cluster.delete("ConfigMap", name, NAMESPACE, resource_version=page.version)
        except ApiError as refusal:
            if refusal.status == 409:
                raise WriteConflict(f"ledger of {page.entry.target}") from refusal
            raise


def config_map_name(target: Target) -> str:
    """The ConfigMap of a target's entry."""
    words = json.dumps([type(target).__name__, dump(target)], sort_keys=True)
    return f"{NAME}-ledger-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def _body(entry: LedgerEntry) -> Object:
    contents = {name: getattr(entry, name) for name in _BLOBS}
    size = sum(len(one) for one in contents.values() if one is not None)
    if size > _LIMIT * 3 // 4:
        raise RefusedError(
            f"{entry.target} is too large to be stored before it is changed",
            why=f"{size} bytes; a ConfigMap holds 1 MiB",
            next_step="change it by hand",
        )
    head: dict[str, Any] = {
        "kind": type(entry.target).__name__,
        "target": dump(entry.target),
        "edits": [_told(one) for one in entry.edits],
        "pending": entry.pending,
        "frame": entry.frame,
        "at": entry.at,
        "by": entry.by,
        "tool_version": entry.tool_version,
        "sha256": {name: digest(one) for name, one in contents.items()},
    }
    text = json.dumps(head, indent=1, sort_keys=True) + "\n"
    meta: Object = {
        "name": config_map_name(entry.target),
        "namespace": NAMESPACE,
        "labels": build_labels(_COMPONENT),
        "annotations": {"pypi-mirror/target": str(entry.target)},
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "data": {"entry.json": text, "sha256": digest(text.encode())},
        "binaryData": {
            name: base64.b64encode(one).decode()
            for name, one in contents.items()
            if one is not None
        },
    }


def _told(applied: AppliedEdit) -> Object:
    edit = applied.edit
    place = {"step": applied.step, "steps": applied.steps, "why": applied.why}
    return {"fix": edit.fix, "options": dict(edit.options), **place}


def _applied(told: Object) -> AppliedEdit:
    edit = Edit(fix=told.pop("fix"), options=told.pop("options"))
    return AppliedEdit(edit=edit, **told)


def _altered(name: str, why: str) -> RefusedError:
    return RefusedError(
        f"the stored copy in ConfigMap {NAMESPACE}/{name} is damaged",
        why=f"{why}; nothing is changed on the word of it",
        next_step=f"restore the ConfigMap from a backup of the cluster; or, if what it is about "
        f"stands as you want it, kubectl -n {NAMESPACE} delete configmap {name}",
    )


def _page(found: Object) -> StoredEntry:
    name = found["metadata"]["name"]
    data = found.get("data") or {}
    text = data.get("entry.json", "")
    if digest(text.encode()) != data.get("sha256"):
        raise _altered(name, "entry.json is not what was written")
    try:
        head = json.loads(text)
        sums = head.pop("sha256")
        kind = head.pop("kind")
        blobs = found.get("binaryData") or {}
        contents: dict[str, Any] = {
            one: base64.b64decode(blobs[one], validate=True) if one in blobs else None
            for one in _BLOBS
        }
        target = _TARGETS[kind](**head.pop("target"))
        edits = tuple(_applied(one) for one in head.pop("edits"))
        entry = LedgerEntry(target=target, edits=edits, **contents, **head)
    except (KeyError, TypeError, ValueError, MirrorError) as broken:
        raise _altered(name, f"it cannot be read ({broken})") from broken
    for one in _BLOBS:
        if digest(contents[one]) != sums.get(one):
            raise _altered(name, f"the bytes of `{one}` are not what was stored")
    return StoredEntry(entry=entry, version=found["metadata"]["resourceVersion"])
