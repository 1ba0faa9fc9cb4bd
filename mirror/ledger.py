"""The stored format of the ledger: one ConfigMap per changed target.

The command line writes and reads it (deploy/changes/ledger.py), the reconciler in the cluster only
reads it. ``binaryData`` holds the exact bytes of the target (``base``, ``written``, ``intended``;
absent content has no key), ``data["entry.json"]`` describes them and has their SHA-256 sums, and
``data["sha256"]`` is the sum of entry.json itself. ``data["version"]`` is the version of this
format; version 1 (mirror 0.1.0) has none. Stdlib only.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTENT_NAMES = ("base", "written", "intended")
ABSENT = "absent"  # stands for the sum of content that does not exist
VERSION = 2  # 2: `undone` and `trimmed` in entry.json, which readers of version 1 may ignore


class DamagedEntryError(Exception):
    """A ledger entry was altered after it was stored, so nothing may be written based on it."""


class NewerEntryError(DamagedEntryError):
    """A newer version of mirror stored the entry, in a format that this one does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFields:
    """A decoded ConfigMap: entry.json without its sums, and the bytes by their name."""

    fields: Mapping[str, Any]
    contents: Mapping[str, bytes | None]


def digest(content: bytes | None) -> str:
    """Return the SHA-256 of the content in hex, or ``absent``."""
    return ABSENT if content is None else hashlib.sha256(content).hexdigest()


def encode_entry(
    fields: Mapping[str, Any], contents: Mapping[str, bytes | None]
) -> dict[str, dict[str, str]]:
    """Return ``data`` and ``binaryData`` of the ConfigMap that stores an entry."""
    sums = {name: digest(content) for name, content in contents.items()}
    text = json.dumps({**fields, "sha256": sums}, indent=1, sort_keys=True) + "\n"
    return {
        "data": {
            "entry.json": text,
            "sha256": digest(text.encode()),
            "version": str(VERSION),
        },
        "binaryData": {
            name: base64.b64encode(content).decode()
            for name, content in contents.items()
            if content is not None
        },
    }


def decode_entry(config_map: Mapping[str, Any]) -> StoredFields:
    """Return what ``encode_entry`` stored.

    Raises DamagedEntryError if any sum does not match, NewerEntryError for a newer format.
    """
    data = config_map.get("data") or {}
    version = data.get("version", "1")
    if not version.isascii() or not version.isdigit():
        raise DamagedEntryError(f"its format version {version[:20]!r} is not a number")
    if int(version) > VERSION:
        raise NewerEntryError(
            f"its format is version {int(version)}, and this mirror reads up to version {VERSION}"
        )
    text = data.get("entry.json", "")
    if digest(text.encode()) != data.get("sha256"):
        raise DamagedEntryError("entry.json is not what was written")
    try:
        fields = json.loads(text)
        sums = fields.pop("sha256")
        blobs = config_map.get("binaryData") or {}
        contents = {
            name: base64.b64decode(blobs[name], validate=True) if name in blobs else None
            for name in CONTENT_NAMES
        }
        damaged = [name for name in CONTENT_NAMES if digest(contents[name]) != sums[name]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedEntryError(f"it cannot be read ({error})") from error
    if damaged:
        raise DamagedEntryError(f"the bytes of `{damaged[0]}` are not what was stored")
    return StoredFields(fields=fields, contents=contents)
