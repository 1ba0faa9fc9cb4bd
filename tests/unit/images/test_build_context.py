"""Build contexts: the archive that the engine gets."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from images.build_context import pack_context
from images.source import read_source
from mirror.core.errors import UnfitError
from mirror.core.wait import Deadline


def write_project(folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/start").write_text("#!/bin/sh\n")
    (folder / "bin/start").chmod(0o700)
    (folder / "main.py").write_text("print(1)\n")
    (folder / "link.py").symlink_to("main.py")


def test_depends_on_the_files_alone() -> None:
    first = pack_context({"b": b"2", "a": b"1"}).read()
    assert pack_context({"a": b"1", "b": b"2"}).read() == first
    with tarfile.open(fileobj=pack_context({"a": b"1"})) as tar:
        (entry,) = tar.getmembers()
    assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) == (0, 0, 0, "", 0o644)


def test_normalizes_modes_and_keeps_links(tmp_path: Path) -> None:
    write_project(tmp_path)
    source = read_source(tmp_path, Deadline.after(10))
    with tarfile.open(fileobj=pack_context({"Dockerfile": b""}, source)) as tar:
        entries = {entry.name: entry for entry in tar}
    assert set(entries) == {
        *("Dockerfile", "empty", "source", "source/bin", "source/bin/start"),
        *("source/link.py", "source/main.py"),
    }
    assert entries["source/bin/start"].mode == 0o755
    assert entries["source/main.py"].mode == 0o644
    assert entries["source/link.py"].linkname == "main.py"


def test_names_a_file_that_disappeared(tmp_path: Path) -> None:
    write_project(tmp_path)
    source = read_source(tmp_path, Deadline.after(10))
    (tmp_path / "main.py").unlink()
    with pytest.raises(UnfitError, match="cannot be packed") as failed:
        pack_context({}, source)
    assert "main.py" in failed.value.why
    assert ".dockerignore" in failed.value.next_step
