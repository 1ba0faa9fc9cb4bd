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
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.snapshot import decode_content, encode_content

_FILE = str(STATE_DIRECTORY / "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredTarget:
    """One target: ``base`` was there before the ``fixes``, ``written`` is what they left."""

    target: str
    fixes: tuple[str, ...]
    base: bytes | None
    written: bytes | None

    @classmethod
    def from_json(cls, told: dict[str, Any], fixes: Iterable[str]) -> DesiredTarget:
        """As it is told: the contents in base64."""
        base, written = decode_content(told["base"]), decode_content(told["written"])
        return cls(target=told["target"], fixes=tuple(fixes), base=base, written=written)

    def to_json(self) -> dict[str, Any]:
        base, written = encode_content(self.base), encode_content(self.written)
        return {"target": self.target, "fixes": self.fixes, "base": base, "written": written}


def read(place: HostPaths) -> list[DesiredTarget]:
    """All of them. Raises Refused where the file was altered: nothing is done on its word."""
    content = files.read_file(place.resolve_file(_FILE)).content
    if content is None:
        return []
    try:
        held = json.loads(content)
        if _digest(held["pages"]) != held["sha256"]:
            raise ValueError("it is not what was written")
        return [DesiredTarget.from_json(one, one["fixes"]) for one in held["pages"]]
    except (KeyError, TypeError, ValueError) as broken:
        raise TargetError(
            f"{_FILE} was altered: {broken}; mirror fix --keep writes it anew"
        ) from None


def write(place: HostPaths, pages: Collection[DesiredTarget]) -> None:
    """These and no others; without any there is no file."""
    path = place.resolve_file(_FILE)
    there = files.read_file(path)
    told = [page.to_json() for page in pages]
    made = json.dumps({"pages": told, "sha256": _digest(told)}, indent=1) + "\n"
    content = made.encode() if pages else None
    if content != there.content:
        files.write_file(path, content, there.version)


def remove(place: HostPaths, targets: Collection[str]) -> None:
    """Take these out; of a file that was altered nothing is left."""
    try:
        there = read(place)
    except TargetError:
        there = []
    write(place, [page for page in there if page.target not in targets])


def _digest(pages: Any) -> str:
    return hashlib.sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()
