"""What is to stay on this node as it was written: one file of pages, which outlives the agent.

Only what stands in it is ever put back. So whoever writes a target, or releases it, first takes it
out of here, under the same lock: nothing that was undone comes back, whatever dies in between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from mirror.agent import files
from mirror.agent.content import as_bytes, as_text
from mirror.agent.place import OURS, Place, Refused

_FILE = str(OURS / "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One target: ``base`` was there before the ``fixes``, ``written`` is what they left."""

    target: str
    fixes: tuple[str, ...]
    base: bytes | None
    written: bytes | None

    @classmethod
    def of(cls, told: dict[str, Any], fixes: Iterable[str]) -> Page:
        """As it is told: the contents in base64."""
        base, written = as_bytes(told["base"]), as_bytes(told["written"])
        return cls(target=told["target"], fixes=tuple(fixes), base=base, written=written)

    def told(self) -> dict[str, Any]:
        base, written = as_text(self.base), as_text(self.written)
        return {"target": self.target, "fixes": self.fixes, "base": base, "written": written}


def read(place: Place) -> list[Page]:
    """All of them. Raises Refused where the file was altered: nothing is done on its word."""
    content = files.read(place.file(_FILE)).content
    if content is None:
        return []
    try:
        held = json.loads(content)
        if _digest(held["pages"]) != held["sha256"]:
            raise ValueError("it is not what was written")
        return [Page.of(one, one["fixes"]) for one in held["pages"]]
    except (KeyError, TypeError, ValueError) as broken:
        raise Refused(f"{_FILE} was altered: {broken}; mirror fix --keep writes it anew") from None


def write(place: Place, pages: Collection[Page]) -> None:
    """These and no others; without any there is no file."""
    path = place.file(_FILE)
    there = files.read(path)
    told = [page.told() for page in pages]
    made = json.dumps({"pages": told, "sha256": _digest(told)}, indent=1) + "\n"
    content = made.encode() if pages else None
    if content != there.content:
        files.write(path, content, there.version)


def drop(place: Place, targets: Collection[str]) -> None:
    """Take these out; of a file that was altered nothing is left."""
    try:
        there = read(place)
    except Refused:
        there = []
    write(place, [page for page in there if page.target not in targets])


def _digest(pages: Any) -> str:
    return hashlib.sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()
