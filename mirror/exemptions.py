"""Hashes of files that the minimum age does not hide: those in locks that somebody has warmed.

Only who may write the volume can add some: `mirror warm` writes them on this machine, or runs this
module in the mirror's pod (``python3 -m mirror.exemptions --data /data``), which reads one line of
JSON: a name of the lock, the hashes, and the projects whose pages change.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from mirror import volume
from mirror.core.codec import dump, load

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemptionRequest:
    """What `mirror warm` adds: SHA-256 (hex) by the digest of the lock, and its projects."""

    lock: str
    sha256: tuple[str, ...]
    projects: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(dump(self))


class Exemptions:
    """The exempt hashes on a volume; read again when there are new ones."""

    def __init__(self, public: Path) -> None:
        self._folder = public / volume.EXEMPT
        self._seen: tuple[int, int] = (-1, -1)
        self._digests: frozenset[str] = frozenset()
        self.version = 0  # another one after each change

    def read(self) -> frozenset[str]:
        """Return the SHA-256 (hex) of all exempt files."""
        try:
            state = self._folder.stat()
            seen = (state.st_mtime_ns, state.st_ino)
        except OSError:
            seen = (0, 0)
        if seen != self._seen:
            self._digests = frozenset(
                line for path in sorted(self._folder.glob("*")) for line in _read_lines(path)
            )
            self._seen = seen
            self.version += 1
        return self._digests


def add_exemptions(data: Path, request: ExemptionRequest) -> int:
    """Store the hashes of a lock, and let the pages of its projects be written anew.

    Returns how many hashes the lock has.
    """
    digests = sorted({digest for digest in map(str.lower, request.sha256) if _is_digest(digest)})
    public = data / volume.PUBLIC
    folder = public / volume.EXEMPT
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    name = "".join(letter for letter in request.lock if letter in _HEX)[:64] or "0"
    partial = folder.parent / volume.PARTIAL / f"exempt-{os.getpid()}-{name}"
    partial.parent.mkdir(mode=0o755, exist_ok=True)
    partial.write_text("".join(f"{digest}\n" for digest in digests))
    (folder / name).unlink(missing_ok=True)  # the folder's time changes, also for the same name
    partial.rename(folder / name)
    _unpublish(public / volume.FRESH, request.projects)
    return len(digests)


def _unpublish(fresh: Path, projects: Iterable[str]) -> None:
    """Make nginx ask the cache for the pages of some projects."""
    for project in map(canonicalize_name, projects):
        for kind in volume.PAGE_KINDS:
            if "/" not in project:
                with suppress(OSError):
                    (fresh / f"{project}.{kind}").unlink(missing_ok=True)


def _read_lines(path: Path) -> list[str]:
    with suppress(OSError, UnicodeDecodeError):
        return [line for line in path.read_text().splitlines() if _is_digest(line)]
    return []


def _is_digest(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def main() -> int:
    """Read a request from standard input, and store it."""
    parser = argparse.ArgumentParser(prog="mirror.exemptions", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    options = parser.parse_args()
    request = load(ExemptionRequest, json.loads(sys.stdin.readline()))
    print(json.dumps({"exempt": add_exemptions(options.data, request)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
