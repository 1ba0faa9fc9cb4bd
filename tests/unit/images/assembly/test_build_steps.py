"""What a container has changed becomes entries, and marks for what it has removed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from images.assembly.build_steps import copy_changes, find_tops
from images.assembly.segment import SegmentWriter


def test_finds_the_uppermost_paths() -> None:
    paths = ["/app/a/b", "/app/a", "/app/a-b", "/app/ab/c", "/app/a/z"]
    assert find_tops(paths) == ["/app/a", "/app/a-b", "/app/ab/c"]


def test_copies_changes_and_marks_removals(tmp_path: Path) -> None:
    """Of a folder that has only changed, nothing but what was added to it."""
    root = tmp_path / "root"
    for name in (
        "app/static/css/site.css",
        "app/old/kept",
        "app/notes",
        "pypi-mirror/run_steps.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)

    @contextmanager
    def read_archive(path: str) -> Iterator[IO[bytes]]:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(root / path.lstrip("/"), path.rpartition("/")[2])
        stream.seek(0)
        yield stream

    writer = SegmentWriter(tmp_path / "segment")
    copy_changes(
        {
            "/app": "modified",
            "/app/notes": "modified",
            "/app/static": "added",
            "/app/static/css": "added",
            "/app/static/css/site.css": "added",
            "/app/gone": "removed",
            "/app/gone/file": "removed",
            "/pypi-mirror": "added",
            "/pypi-mirror/run_steps.py": "added",
        },
        read_archive,
        writer,
    )
    names = [entry.name for entry in writer.finish()]
    assert names == [
        "app",
        "app/.wh.gone",
        "app/notes",
        "app/static",
        "app/static/css",
        "app/static/css/site.css",
    ]
