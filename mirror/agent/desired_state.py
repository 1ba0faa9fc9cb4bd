"""The desired state of this node: the targets that the agent restores when they are reverted.

It is one file that survives the agent. Only targets in it are ever restored, so whoever writes or
reverts a target first removes it from the file, under the same lock: a rollback is never undone,
even if one of the processes dies in between.
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
    """One target: ``base`` is its content before the ``fixes``, ``written`` after them."""

    target: str
    fixes: tuple[str, ...]
    base: bytes | None
    written: bytes | None

    @classmethod
    def from_json(cls, data: dict[str, Any], fixes: Iterable[str]) -> DesiredTarget:
        """Read the target and both contents, which are in base64."""
        base, written = decode_content(data["base"]), decode_content(data["written"])
        return cls(target=data["target"], fixes=tuple(fixes), base=base, written=written)

    def to_json(self) -> dict[str, Any]:
        base, written = encode_content(self.base), encode_content(self.written)
        return {"target": self.target, "fixes": self.fixes, "base": base, "written": written}


def read(host: HostPaths) -> list[DesiredTarget]:
    """Return all desired targets. Raises TargetError if somebody edited the file."""
    content = files.read_file(host, _FILE).content
    if content is None:
        return []
    try:
        state = json.loads(content)
        if _compute_digest(state["pages"]) != state["sha256"]:
            raise ValueError("its checksum does not match")
        return [DesiredTarget.from_json(data, data["fixes"]) for data in state["pages"]]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"{_FILE} was altered: {error}; run mirror fix --keep to write it again"
        raise TargetError(why) from None


def write(host: HostPaths, desired: Collection[DesiredTarget]) -> None:
    """Replace the desired state; remove the file if nothing is desired."""
    current = files.read_file(host, _FILE)
    pages = [target.to_json() for target in desired]
    text = json.dumps({"pages": pages, "sha256": _compute_digest(pages)}, indent=1) + "\n"
    content = text.encode() if desired else None
    if content != current.content:
        files.write_file(host, _FILE, content, current.version)


def remove(host: HostPaths, targets: Collection[str]) -> None:
    """Remove some targets from the desired state; all of them if somebody edited the file."""
    try:
        desired = read(host)
    except TargetError:
        desired = []
    write(host, [target for target in desired if target.target not in targets])


def _compute_digest(pages: Any) -> str:
    return hashlib.sha256(json.dumps(pages, sort_keys=True).encode()).hexdigest()
