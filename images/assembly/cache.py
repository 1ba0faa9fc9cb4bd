"""Segments and facts that an earlier build has made, by the hash of everything they depend on.

The cache is a folder of the user, out of reach of every container. What a build makes becomes part
of it in one step, once the build has passed all checks of the sandbox.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from images.assembly.segment import IndexEntry, SegmentWriter
from mirror.core.errors import UnfitError

FORMAT = "1"  # change it when the same inputs would give another segment or layer
MAX_BYTES = 8 * 1000**3
_STAGED = ".staged-"
_STAGED_SECONDS = 24 * 3600


def write_whole(path: Path, text: str) -> None:
    """Write a file of the cache in one step."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    part.write_text(text)
    part.replace(path)


def content_key(kind: str, **facts: Any) -> str:
    """Return the key of something that depends on facts (JSON values) alone."""
    text = json.dumps([FORMAT, kind, facts], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment in the cache: its file, its bytes, and what else is known about it.

    Beside its file is its index, which is read only to write a layer.

    ``stamp`` is another one each time the segment is made.
    """

    key: str
    stamp: str
    path: Path
    size: int
    facts: Mapping[str, Any]

    def read_index(self) -> list[IndexEntry]:
        """Return where its entries are. Raises OSError or ValueError for a broken cache."""
        rows = json.loads(self.path.with_suffix(".index").read_text())
        return [
            IndexEntry(name=name, start=start, end=end, is_folder=is_folder)
            for name, start, end, is_folder in rows
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCache:
    """A folder with three files for each key: KEY.tar, KEY.index and, the last, KEY.json."""

    folder: Path

    @classmethod
    def of_user(cls) -> LayerCache:
        return cls(folder=platformdirs.user_cache_path("pypi-mirror", appauthor=False) / "layers")

    def find(self, key: str) -> Segment | None:
        """Return a segment that is complete, or None. It counts as used."""
        tar, facts = self.folder / f"{key}.tar", self.folder / f"{key}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(facts.read_text())
            size = tar.stat().st_size
            if known["size"] == size and tar.with_suffix(".index").exists():
                os.utime(tar)
                stamp, values = known["stamp"], known["facts"]
                return Segment(key=key, stamp=stamp, path=tar, size=size, facts=values)
        return None

    def get(self, key: str) -> Segment:
        """Return a segment that was made, or found, a moment ago."""
        if segment := self.find(key):
            return segment
        raise UnfitError(
            "a layer of the build is not in its cache any more",
            why=f"something else has removed it from {self.folder}",
            next_step="run the same command again",
        )

    @contextmanager
    def stage(self) -> Iterator[StagedSegments]:
        """Collect new segments for the length of a block; those not committed are removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=_STAGED, dir=self.folder))
        staged = StagedSegments(cache=self, scratch=scratch)
        try:
            yield staged
        finally:
            staged.close()
            shutil.rmtree(scratch, ignore_errors=True)

    def trim(self, max_bytes: int) -> int:
        """Remove the segments that were not used for the longest time; return the bytes removed.

        What builds that were killed have left is removed after a day.
        """
        for folder in self.folder.glob(f"{_STAGED}*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _STAGED_SECONDS:
                    shutil.rmtree(folder)
        used = {path: path.stat() for path in self.folder.glob("*.tar")}
        total, removed = sum(info.st_size for info in used.values()), 0
        for path, info in sorted(used.items(), key=lambda item: item[1].st_mtime):
            if total - removed <= max_bytes:
                break
            for suffix in (".json", ".index"):
                path.with_suffix(suffix).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            removed += info.st_size
        return removed


@dataclass(slots=True, kw_only=True)
class StagedSegments:
    """Segments of a build that is not finished."""

    cache: LayerCache
    scratch: Path
    _writers: dict[str, SegmentWriter] = field(default_factory=dict)

    def open(self, key: str) -> SegmentWriter:
        """Return the writer of a key: a new one, or the one that is being written."""
        if key not in self._writers:
            self._writers[key] = SegmentWriter(self.scratch / f"{key}.tar")
        return self._writers[key]

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def commit(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Finish the segments, and make them part of the cache. ``facts``: key → facts."""
        for key, writer in self._writers.items():
            index = writer.finish()
            tar = self.scratch / f"{key}.tar"
            document = {
                "stamp": secrets.token_hex(8),
                "size": tar.stat().st_size,
                "facts": facts.get(key, {}),
            }
            description = self.scratch / f"{key}.json"
            description.write_text(json.dumps(document))
            rows = [[entry.name, entry.start, entry.end, entry.is_folder] for entry in index]
            tar.with_suffix(".index").write_text(json.dumps(rows))
            # a reader takes a segment only if its size is the one in the description
            for path in (tar, tar.with_suffix(".index"), description):
                path.replace(self.cache.folder / path.name)
        self._writers.clear()
