"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386)."""

from __future__ import annotations

import json
from typing import Any

from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.errors import StatusError, bad_request


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with a merge patch applied: null removes a key."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Any, operations: Any) -> Any:
    """Return the target with a JSON patch applied. Raises StatusError as the API server does."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal into a list")
    document = clone(target)
    for operation in operations:
        kind, pointer = operation["op"], operation["path"]
        try:
            match kind:
                case "test":
                    if _get(document, pointer) != operation["value"]:
                        raise _failed(f"testing value {pointer} failed: test failed")
                case "add" | "replace":
                    # as the library does: replace adds a missing key to a map
                    document = _put(document, pointer, operation["value"], kind == "add")
                case "remove":
                    _get(document, pointer)
                    document = _drop(document, pointer)
                case "copy" | "move":
                    value = clone(_get(document, operation["from"]))
                    if kind == "move":
                        document = _drop(document, operation["from"])
                    document = _put(document, pointer, value, True)
                case _:
                    raise bad_request(f"unknown operation {kind!r} of a JSON patch")
        except (LookupError, TypeError, ValueError) as error:
            raise _failed(f"{kind} operation does not apply: doc is missing key: {pointer}") from (
                error
            )
    return document


def _failed(why: str) -> StatusError:
    """Return the response to a patch that cannot be applied; its message is the library's."""
    return StatusError(422, "Invalid", f"the server rejected our request: {why}")


def _split(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"not a JSON pointer: {json.dumps(pointer)}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _get(document: Any, pointer: str) -> Any:
    value = document
    for part in _split(pointer):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _parent(document: Any, pointer: str) -> tuple[Any, str]:
    head, _, _ = pointer.rpartition("/")
    return _get(document, head), _split(pointer)[-1]


def _put(document: Any, pointer: str, value: Any, insert: bool) -> Any:
    if not pointer:
        return value
    parent, key = _parent(document, pointer)
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    elif insert:
        if int(key) > len(parent):
            raise LookupError(key)
        parent.insert(int(key), value)
    else:
        parent[int(key)] = value
    return document


def _drop(document: Any, pointer: str) -> Any:
    parent, key = _parent(document, pointer)
    del parent[int(key) if isinstance(parent, list) else key]
    return document
