"""Segments of layers: the same bytes whatever the order and the machine, and no hostile names."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from images.assembly.segment import (
    LayerEntry,
    LayerEntryError,
    SegmentWriter,
    merge_indexes,
)

FOLDER = LayerEntry(name="a", kind=tarfile.DIRTYPE, mode=0o755)
ENTRIES: tuple[tuple[LayerEntry, bytes], ...] = (
    (FOLDER, b""),
    (LayerEntry(name="a/x", mode=0o600, owner=10001, group=7, size=5), b"hello"),
    (LayerEntry(name="a/y", kind=tarfile.LNKTYPE, target="a/x"), b""),
    (LayerEntry(name="a/z", kind=tarfile.SYMTYPE, mode=0o777, target="../etc/x"), b""),
    (LayerEntry(name="a-b", size=513), b"x" * 513),
    (LayerEntry(name="b/" + "n" * 180, size=1), b"1"),
    (LayerEntry(name="b/gr\udcfcn", size=0), b""),
    (LayerEntry(name='b/two\nlines "quoted" ü', size=2), b"ab"),
)


def write(path: Path, entries: Sequence[tuple[LayerEntry, bytes]]) -> bytes:
    writer = SegmentWriter(path)
    for entry, content in entries:
        writer.add(entry, io.BytesIO(content))
    writer.finish()
    return path.read_bytes()


def read(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data + bytes(1024)), errors="surrogateescape") as archive:
        return archive.getmembers()


def test_writes_what_it_was_given(tmp_path: Path) -> None:
    members = read(write(tmp_path / "s", ENTRIES))
    assert [member.name for member in members] == [
        "a",
        "a/x",
        "a/y",
        "a/z",
        "a-b",
        "b/gr\udcfcn",
        "b/" + "n" * 180,
        'b/two\nlines "quoted" ü',
    ]
    by_name = {member.name: member for member in members}
    assert (by_name["a/x"].mode, by_name["a/x"].uid, by_name["a/x"].gid) == (0o600, 10001, 7)
    assert by_name["a/y"].islnk()
    assert by_name["a/y"].linkname == "a/x"
    assert by_name["a/z"].issym()
    assert by_name["a/z"].linkname == "../etc/x"
    assert {member.mtime for member in members} == {315532800}
    assert {(member.uname, member.gname) for member in members} == {("", "")}


def test_these_bytes_are_part_of_the_format(tmp_path: Path) -> None:
    """If they change, so do the digests of all images: change FORMAT in cache.py, too."""
    digest = hashlib.sha256(write(tmp_path / "s", ENTRIES)).hexdigest()
    assert digest == "3e6eaa5905198ff32f04f46807e8f5c1d2607c43db153da2cbe0369fcd01ee5a"


def test_the_order_of_the_entries_does_not_matter(tmp_path: Path) -> None:
    """Except for a hard link, which comes after the file."""
    file, link = ENTRIES[1], ENTRIES[2]
    others = [entry for entry in ENTRIES if entry not in (file, link)]
    shuffled = [*others[::-1], file, link]
    assert write(tmp_path / "one", shuffled) == write(tmp_path / "two", ENTRIES)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "a/../../x", "a//x", ".", "a/.", "", "a\0b", "a/.wh.x", ".wh..wh..opq"],
)
def test_refuses_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    writer = SegmentWriter(tmp_path / "s")
    with pytest.raises(LayerEntryError):
        writer.add(LayerEntry(name=name))
    assert writer.finish() == []


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        pytest.param(LayerEntry(name="a/x"), b"", id="twice"),
        pytest.param(
            LayerEntry(name="a/b", kind=tarfile.LNKTYPE, target="a/x"), b"", id="link before file"
        ),
        pytest.param(
            LayerEntry(name="c", kind=tarfile.LNKTYPE, target="a"), b"", id="link to a folder"
        ),
        pytest.param(
            LayerEntry(name="c", kind=tarfile.LNKTYPE, target="/etc/x"), b"", id="link elsewhere"
        ),
        pytest.param(LayerEntry(name="c", size=3), b"ab", id="content is cut off"),
    ],
)
def test_refuses_entries_that_cannot_be(tmp_path: Path, entry: LayerEntry, content: bytes) -> None:
    writer = SegmentWriter(tmp_path / "s")
    for known, text in ENTRIES[:2]:
        writer.add(known, io.BytesIO(text))
    with pytest.raises(LayerEntryError):
        writer.add(entry, io.BytesIO(content))


def test_marks_what_is_removed(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "s")
    writer.add_whiteout("app/old.txt")
    writer.finish()
    assert [member.name for member in read((tmp_path / "s").read_bytes())] == ["app/.wh.old.txt"]


def test_reads_back_what_it_wrote(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "s")
    for entry, content in ENTRIES:
        writer.add(entry, io.BytesIO(content))
        writer.close()  # as if there were many
    assert writer.read("a-b") == b"x" * 513
    assert writer.read("a/y") == b"hello"
    writer.finish()
    assert (tmp_path / "s").read_bytes() == write(tmp_path / "other", ENTRIES)


def test_a_layer_has_each_name_once(tmp_path: Path) -> None:
    """The first folder and the last file; all other bytes are those of the segments."""
    mine = LayerEntry(name="a/same", size=4)
    indexes, data = [], []
    for number, entries in enumerate(
        (
            [(FOLDER, b""), (mine, b"mine")],
            [(replace(FOLDER, mode=0o700), b""), (replace(mine, mode=0o755), b"also"), ENTRIES[1]],
        )
    ):
        writer = SegmentWriter(tmp_path / str(number))
        for entry, content in entries:
            writer.add(entry, io.BytesIO(content))
        indexes.append(writer.finish())
        data.append((tmp_path / str(number)).read_bytes())
    pieces = merge_indexes(indexes)
    layer = b"".join(data[number][start:end] for number, start, end in pieces)
    members = {member.name: member for member in read(layer)}
    assert sorted(members) == ["a", "a/same", "a/x"]
    assert len(read(layer)) == 3
    assert members["a"].mode == 0o755
    assert members["a/same"].mode == 0o755
    assert b"also" in layer
    assert b"mine" not in layer
