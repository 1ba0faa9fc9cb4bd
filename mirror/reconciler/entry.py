"""A page of the ledger, as deploy/changes/ledger.py writes it, and the target it is about."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from mirror.merge import encode_spec

Object = dict[str, Any]


class DamagedEntryError(Exception):
    """A page that was altered: nothing is done on the word of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledObject:
    """One target: the API's path of its object, the key where it is one of a ConfigMap."""

    name: str  # of the page
    fixes: tuple[str, ...]
    kind: str
    path: str
    key: str | None
    base: bytes | None
    written: bytes | None

    def extract_content(self, found: Object | None) -> bytes | None:
        """What stands there, as the ledger has it."""
        if found is None or "deletionTimestamp" in found["metadata"]:
            return None
        if self.key is None:
            return encode_spec(found.get("spec", {}))
        value = (found.get("data") or {}).get(self.key)
        return None if value is None else str(value).encode()

    def build_patch(self, found: Object, content: bytes) -> list[Object]:
        """A JSON patch that writes it, and only over what was read."""
        version = found["metadata"]["resourceVersion"]
        seen = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        if self.key is None:
            return [seen, {"op": "replace", "path": "/spec", "value": json.loads(content)}]
        key = self.key.replace("~", "~0").replace("/", "~1")
        if not found.get("data"):
            return [seen, {"op": "add", "path": "/data", "value": {self.key: content.decode()}}]
        return [seen, {"op": "add", "path": f"/data/{key}", "value": content.decode()}]


def parse_entry(found: Object, path: str) -> ReconciledObject | None:
    """None for one that is being written just now. Raises Damaged. ``path`` of its target."""
    name = found["metadata"]["name"]
    try:
        text = found["data"]["entry.json"]
        if hashlib.sha256(text.encode()).hexdigest() != found["data"]["sha256"]:
            raise ValueError("entry.json is not what was written")
        head, blobs = json.loads(text), found.get("binaryData") or {}
        held = {one: _blob(blobs.get(one), head["sha256"][one]) for one in ("base", "written")}
        if head["pending"] or not head["edits"]:
            return None
        target = head["target"]
        return ReconciledObject(
            name=name,
            fixes=tuple(dict.fromkeys(one["fix"] for one in head["edits"])),
            # IPPool.projectcalico.org is an IPPool of that group
            kind=target.get("kind", "ConfigMap").partition(".")[0],
            path=path,
            key=target.get("key"),
            **held,
        )
    except (KeyError, TypeError, ValueError) as broken:
        raise DamagedEntryError(f"{name}: {broken}") from broken


def _blob(text: str | None, digest: str) -> bytes | None:
    content = None if text is None else base64.b64decode(text, validate=True)
    said = "absent" if content is None else hashlib.sha256(content).hexdigest()
    if said != digest:
        raise ValueError("its bytes are not what was stored")
    return content
