"""The content of a target at one moment, as drivers and node agents exchange it.

A target is one thing that a fix changes: a key of a ConfigMap, the spec of an object, a file or a
kernel setting of a node. Standard library only: the node agent uses this module.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class WriteConflict(Exception):
    """Nothing was written, because the target is not at the expected version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a target contains; None where it does not exist.

    Two snapshots have the same ``version`` only if the target was not written in between.
    ``metadata`` is JSON that is needed in addition to the content to create a deleted target
    as it was (labels of an object, mode and owner of a file).
    """

    content: bytes | None
    version: str
    metadata: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the agent's answer to a request to read or write."""
        content = encode_content(self.content)
        return {"content": content, "version": self.version, "frame": self.metadata}

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Snapshot:
        """Read an answer that to_json returned. Raises KeyError, ValueError."""
        content = decode_content(answer["content"])
        return cls(content=content, version=answer["version"], metadata=answer["frame"])


def encode_content(content: bytes | None) -> str | None:
    """Return bytes as they are written in JSON: in base64; None stays None."""
    return None if content is None else base64.b64encode(content).decode()


def decode_content(text: str | None) -> bytes | None:
    """Undo encode_content. Raises ValueError if the text is not base64."""
    return None if text is None else base64.b64decode(text, validate=True)
