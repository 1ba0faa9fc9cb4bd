"""Trim the stored contents of a workload to what differs between them. Pure.

A workload's spec may hold secrets, and the ledger is a ConfigMap. The inverse of an edit is enough
to undo it: a merge (mirror.merge) adds everything else from the workload as it is then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.changes.model import ObjectSpec, Target
from mirror.merge import decode_spec, encode_spec

_ABSENT: Any = object()


def is_trimmable(target: Target) -> bool:
    """Return whether a target is a workload: of these, only the inverse of an edit is stored."""
    return isinstance(target, ObjectSpec) and target.namespace is not None


def trim(contents: Sequence[bytes | None]) -> list[bytes | None] | None:
    """Return the contents without what is equal in all; None if an object is made or deleted.

    A content that is None in the ledger for another reason must be left out.
    """
    if any(content is None for content in contents):
        return None
    trimmed = _trim([decode_spec(content) for content in contents if content is not None])
    return [encode_spec({} if value is _ABSENT else value) for value in trimmed]


def contains(content: bytes, trimmed: bytes) -> bool:
    """Return whether everything in the trimmed content is in the content, with the same value."""
    return _contains(decode_spec(content), decode_spec(trimmed))


def _trim(values: list[Any]) -> list[Any]:
    """Return the values without their equal parts; a value that is equal in all is absent."""
    if all(value is values[0] or value == values[0] for value in values):
        return [_ABSENT] * len(values)
    if all(isinstance(value, dict) for value in values):
        return _trim_maps(values)
    named = [_index_by_name(value) for value in values]
    if all(items is not None for items in named):
        maps = _trim_maps([items or {} for items in named])
        return [[{"name": name, **item} for name, item in items.items()] for items in maps]
    return values


def _trim_maps(maps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    trimmed: list[dict[str, Any]] = [{} for _ in maps]
    for key in dict.fromkeys(key for each in maps for key in each):
        parts = _trim([each.get(key, _ABSENT) for each in maps])
        for result, part in zip(trimmed, parts, strict=True):
            if part is not _ABSENT:
                result[key] = part
    return trimmed


def _contains(value: Any, trimmed: Any) -> bool:
    if isinstance(value, dict) and isinstance(trimmed, dict):
        return all(key in value and _contains(value[key], trimmed[key]) for key in trimmed)
    items, wanted = _index_by_name(value), _index_by_name(trimmed)
    if items is not None and wanted is not None:
        return _contains(items, wanted)
    return bool(value == trimmed)


def _index_by_name(items: Any) -> dict[str, Any] | None:
    """Return items with unique names (containers, env) by name; None for everything else."""
    if not isinstance(items, list) or not items:
        return None
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        return None
    by_name = {item["name"]: item for item in items}
    return by_name if len(by_name) == len(items) else None
