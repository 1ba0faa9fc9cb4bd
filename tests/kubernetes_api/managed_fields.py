"""Which field manager owns which fields, and server-side apply.

A set of fields is a set of paths; a path is a tuple of keys as in `fieldsV1`: ``f:name`` for a
field, ``k:{…}`` for an item of a list that is merged by keys, ``v:…`` for an item of a set, and a
last ``.`` for an item itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tests.kubernetes_api.copying import clone

Path = tuple[str, ...]

# lists whose items are merged by keys, and the fields that are replaced as a whole
_LIST_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "conditions": ("type",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "secrets": ("name",),
    "ownerReferences": ("uid",),
}
_SETS = {"finalizers"}
_ATOMIC = {
    *("selector", "nodeSelector", "labelSelector", "podSelector", "namespaceSelector"),
    *("roleRef", "secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"),
    *("claimRef", "involvedObject", "targetRef"),
}
# fields that nobody owns
_UNOWNED = {
    *("apiVersion", "kind"),
    *(f"metadata.{key}" for key in ("name", "namespace", "uid", "resourceVersion", "generation")),
    *(f"metadata.{key}" for key in ("creationTimestamp", "managedFields", "deletionTimestamp")),
    *(f"metadata.{key}" for key in ("deletionGracePeriodSeconds", "selfLink", "generateName")),
}


def _list_keys(name: str, items: list[Any], kind: str) -> tuple[str, ...]:
    """Return the keys that identify the items of a list; nothing if it is replaced as a whole."""
    if name == "ports":
        if kind == "Service":
            return ("port", "protocol")
        if any("containerPort" in item for item in items):
            return ("containerPort", "protocol")
        return ()
    keys = _LIST_KEYS.get(name, ())
    return keys if all(isinstance(item, dict) and keys[0] in item for item in items if keys) else ()


def _item_key(item: Any, keys: tuple[str, ...]) -> str:
    values = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    present = {key: value for key, value in values.items() if value is not None}
    return "k:" + json.dumps(present, sort_keys=True, separators=(",", ":"))


def list_fields(obj: Any) -> dict[Path, Any]:
    """Return the owned fields of an object: path → value."""
    kind = str(obj.get("kind", ""))
    fields: dict[Path, Any] = {}
    for key, value in obj.items():
        if key == "metadata":
            for name, each in value.items():
                if f"metadata.{name}" not in _UNOWNED:
                    fields |= _flatten(each, ("f:metadata", f"f:{name}"), name, kind)
        elif key not in _UNOWNED:
            fields |= _flatten(value, (f"f:{key}",), key, kind)
    return fields


def _flatten(value: Any, path: Path, name: str, kind: str) -> dict[Path, Any]:
    if isinstance(value, dict) and value and name not in _ATOMIC:
        fields: dict[Path, Any] = {}
        for key, each in value.items():
            fields |= _flatten(each, (*path, f"f:{key}"), key, kind)
        return fields
    if isinstance(value, list) and value:
        if name in _SETS:
            return {(*path, f"v:{json.dumps(item)}"): item for item in value}
        if keys := _list_keys(name, value, kind):
            fields = {}
            for item in value:
                here = (*path, _item_key(item, keys))
                fields[(*here, ".")] = None
                for key, each in item.items():
                    fields |= _flatten(each, (*here, f"f:{key}"), key, kind)
            return fields
    return {path: value}


def merge(live: Any, config: Any, name: str = "", kind: str = "") -> Any:
    """Return the live value with an applied one merged into it."""
    if isinstance(live, dict) and isinstance(config, dict) and name not in _ATOMIC:
        merged = dict(live)
        for key, value in config.items():
            merged[key] = merge(live.get(key), value, key, kind)
        return merged
    if isinstance(live, list) and isinstance(config, list):
        if name in _SETS:
            return [*live, *(item for item in config if item not in live)]
        if keys := _list_keys(name, [*live, *config], kind):
            return _merge_items(live, config, keys, kind)
    return clone(config)


def _merge_items(live: list[Any], config: list[Any], keys: tuple[str, ...], kind: str) -> list[Any]:
    """Return the items of both lists; where they differ in order, in that of the applied one."""
    old = {_item_key(item, keys): item for item in live}
    new = {_item_key(item, keys): item for item in config}
    merged: list[Any] = []
    waiting = list(old)
    for key, item in new.items():
        while waiting and waiting[0] not in new:
            merged.append(clone(old[waiting.pop(0)]))
        if key in waiting:
            waiting.remove(key)
        merged.append(merge(old[key], item, "", kind) if key in old else clone(item))
    return [*merged, *(clone(old[key]) for key in waiting)]


def remove_fields(obj: Any, paths: set[Path], *, kept: set[Path]) -> None:
    """Remove fields, and the maps and lists that become empty, except what others own."""
    kind = str(obj.get("kind", ""))
    whole = {
        path[:-1]
        for path in paths
        if path[-1] == "." and not any(other[: len(path) - 1] == path[:-1] for other in kept)
    }
    for item in whole:
        _remove(obj, (*item, "."), "", kind)
    for path in sorted(paths - kept):
        if path[-1] != "." and not _is_key_field(path):
            _remove(obj, path, "", kind)


def _is_key_field(path: Path) -> bool:
    """Return whether a field identifies its item of a list: it stays as long as the item."""
    parent = path[-2] if len(path) > 1 else ""
    return parent.startswith("k:") and path[-1][2:] in json.loads(parent[2:])


def _remove(value: Any, path: Path, name: str, kind: str) -> None:
    key, rest = path[0], path[1:]
    if key.startswith("f:"):
        field = key[2:]
        if not isinstance(value, dict) or field not in value:
            return
        if rest:
            _remove(value[field], rest, field, kind)
        if not rest or value[field] in ({}, []):
            del value[field]
    elif key.startswith("v:") and isinstance(value, list):
        item = json.loads(key[2:])
        if item in value:
            value.remove(item)
    elif key.startswith("k:") and isinstance(value, list):
        keys = _list_keys(name, value, kind)
        for index, item in enumerate(value):
            if _item_key(item, keys) == key:
                if rest == (".",):
                    del value[index]
                else:
                    _remove(item, rest, "", kind)
                return


# -- metadata.managedFields -----------------------------------------------------------------------


class FieldOwners:
    """The entries of `metadata.managedFields`: (manager, operation, subresource) → fields."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self.sets: dict[tuple[str, str, str], set[Path]] = {}
        self._times: dict[tuple[str, str, str], str] = {}
        for entry in entries:
            key = entry["manager"], entry["operation"], entry.get("subresource", "")
            self.sets[key] = set(_parse(entry.get("fieldsV1") or {}))
            self._times[key] = entry.get("time", "")

    def render(self, api_version: str, now: str, before: FieldOwners) -> list[Any]:
        """Return the entries; the time of one changes with its fields."""
        entries = []
        for key, paths in self.sets.items():
            if not paths:
                continue
            is_same = before.sets.get(key) == paths
            entry = {
                "manager": key[0],
                "operation": key[1],
                "apiVersion": api_version,
                "time": before._times.get(key, now) if is_same else now,
                "fieldsType": "FieldsV1",
                "fieldsV1": _render(paths),
            }
            entries.append(entry | ({"subresource": key[2]} if key[2] else {}))
        return entries

    def owned_by_others(self, key: tuple[str, str, str]) -> set[Path]:
        return {path for other, paths in self.sets.items() if other != key for path in paths}

    def take(self, key: tuple[str, str, str], paths: set[Path]) -> None:
        """Give fields to one manager, and take them from all others."""
        for other, owned in self.sets.items():
            if other != key:
                owned -= paths
        self.sets[key] = self.sets.get(key, set()) | paths

    def forget(self, paths: set[Path]) -> None:
        for owned in self.sets.values():
            owned -= paths


def find_conflicts(
    owners: FieldOwners, key: tuple[str, str, str], live: dict[Path, Any], config: dict[Path, Any]
) -> dict[str, set[Path]]:
    """Return manager → fields that it owns and the applied object would change."""
    changed = {path for path, value in config.items() if path in live and live[path] != value}
    changed |= {path for path in config if path not in live}
    found = {}
    for other, paths in owners.sets.items():
        if other != key and (both := paths & changed):
            found[other[0]] = both
    return found


def format_path(path: Path) -> str:
    """Return a path as messages have it: .data.key, .spec.containers[name="x"].image."""
    text = ""
    for key in path:
        if key.startswith("f:"):
            text += f".{key[2:]}"
        elif key.startswith("k:"):
            pairs = json.loads(key[2:]).items()
            text += "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in pairs) + "]"
        elif key.startswith("v:"):
            text += f"[={key[2:]}]"
    return text


def _render(paths: Iterable[Path]) -> Any:
    tree: Any = {}
    for path in sorted(paths):
        node = tree
        for key in path:
            node = node.setdefault(key, {})
    return tree


def _parse(tree: Any, path: Path = ()) -> Iterator[Path]:
    for key, below in tree.items():
        if below:
            yield from _parse(below, (*path, key))
        else:
            yield (*path, key)
