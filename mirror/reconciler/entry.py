"""A ledger entry as the reconciler needs it, with the object that it is about."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mirror.core.codec import Object
from mirror.ledger import DamagedEntryError, decode_entry
from mirror.merge import encode_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerEntry:
    """One target: a key of a ConfigMap, or the spec of an object if ``key`` is None."""

    name: str  # of the entry's ConfigMap
    fixes: tuple[str, ...]
    kind: str
    path: str  # of the object in the API
    key: str | None
    base: bytes | None
    written: bytes | None

    def extract_content(self, obj: Object | None) -> bytes | None:
        """Return the target's content, encoded as in the ledger; None if it does not exist."""
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        if self.key is None:
            return encode_spec(obj.get("spec", {}))
        value = (obj.get("data") or {}).get(self.key)
        return None if value is None else str(value).encode()

    def find_flaw(self) -> str:
        """Return why no fix can have made this entry; empty if one can.

        Whoever may write ConfigMaps in kube-system may forge an entry. They may write the keys of
        ConfigMaps there themselves, but not other objects: of a pool, a fix only sets `disabled`.
        """
        if self.key is not None or self.written is None:
            return ""
        try:
            base, written = json.loads(self.base or b"null"), json.loads(self.written)
            is_disabled = {**base, "disabled": True} == written
        except (TypeError, ValueError):
            is_disabled = False
        return "" if is_disabled else f"its ledger entry {self.name} is not what a fix makes"

    def build_patch(self, obj: Object, content: bytes) -> list[Object]:
        """Return a JSON patch that writes the content if the object is still at its version."""
        version = obj["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        if self.key is None:
            return [test, {"op": "replace", "path": "/spec", "value": json.loads(content)}]
        key = self.key.replace("~", "~0").replace("/", "~1")
        if not obj.get("data"):
            return [test, {"op": "add", "path": "/data", "value": {self.key: content.decode()}}]
        return [test, {"op": "add", "path": f"/data/{key}", "value": content.decode()}]


def parse_entry(config_map: Object, path: str) -> ReconcilerEntry | None:
    """Read an entry about ``path``; None if a command is writing it. Raises DamagedEntryError."""
    name = config_map["metadata"]["name"]
    try:
        stored = decode_entry(config_map)
        fields = stored.fields
        if fields["pending"] or not fields["edits"]:
            return None
        target = fields["target"]
        return ReconcilerEntry(
            name=name,
            fixes=tuple(dict.fromkeys(edit["fix"] for edit in fields["edits"])),
            # the kind IPPool.projectcalico.org is an IPPool of that API group
            kind=target.get("kind", "ConfigMap").partition(".")[0],
            path=path,
            key=target.get("key"),
            base=stored.contents["base"],
            written=stored.contents["written"],
        )
    except (DamagedEntryError, KeyError, TypeError) as error:
        raise DamagedEntryError(f"{name}: {error}") from error
