"""Archives as an engine makes them, read into segments."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from images.assembly.container_files import read_entries, split_entries
from images.assembly.segment import LayerEntryError, SegmentWriter


def make_archive(*members: tarfile.TarInfo, contents: Mapping[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members:
            content = contents.get(member.name, b"")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, 1_700_000_000
    info.uid, info.uname = 5, "somebody"
    info.pax_headers = {"SCHILY.xattr.user.x": "y"}
    return info


def list_names(path: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes() + bytes(1024))) as archive:
        return [f"{info.name}{'=' + info.linkname if info.islnk() else ''}" for info in archive]


def test_reads_entries_without_times_names_and_attributes() -> None:
    archive = make_archive(
        member(".venv", tarfile.DIRTYPE),
        member(".venv/a", mode=0o104755),
        member(".venv/pipe", tarfile.FIFOTYPE),
        member(".venv/device", tarfile.CHRTYPE),
        member(".venv/b", tarfile.LNKTYPE, ".venv/a"),
        member(".venv/c", tarfile.SYMTYPE, "/usr/bin/python3"),
        contents={".venv/a": b"text"},
    )
    entries = [
        (entry.name, entry.target, entry.owner, entry.mode, content.read() if content else None)
        for entry, content in read_entries(archive, "app/.venv")
    ]
    assert entries == [
        ("app/.venv", "", 5, 0o644, None),
        ("app/.venv/a", "", 5, 0o4755, b"text"),
        ("app/.venv/b", "app/.venv/a", 5, 0o644, None),
        ("app/.venv/c", "/usr/bin/python3", 5, 0o777, None),
    ]


def split(tmp_path: Path, archive: io.BytesIO, owners: Mapping[str, str]) -> None:
    writers = {name: SegmentWriter(tmp_path / name) for name in set(owners.values())}
    split_entries(
        read_entries(archive, "v"),
        lambda name: writers.get(owners.get(name, "")),
        "v",
    )
    for writer in writers.values():
        writer.finish()


def test_splits_by_owner_with_the_folders_above(tmp_path: Path) -> None:
    archive = make_archive(
        member("v", tarfile.DIRTYPE),
        member("v/lib", tarfile.DIRTYPE),
        member("v/lib/empty", tarfile.DIRTYPE),
        member("v/lib/one.py"),
        member("v/lib/other"),
        member("v/lib/two.py"),
        contents={"v/lib/one.py": b"1", "v/lib/two.py": b"22"},
    )
    split(tmp_path, archive, {"v/lib/one.py": "one", "v/lib/two.py": "two"})
    assert list_names(tmp_path / "one") == ["v", "v/lib", "v/lib/one.py"]
    assert list_names(tmp_path / "two") == ["v", "v/lib", "v/lib/two.py"]


def test_a_hard_link_to_another_segment_becomes_a_file(tmp_path: Path) -> None:
    archive = make_archive(
        member("v/a"),
        member("v/b", tarfile.LNKTYPE, "v/a"),
        member("v/c", tarfile.LNKTYPE, "v/a"),
        contents={"v/a": b"text"},
    )
    split(tmp_path, archive, {"v/a": "one", "v/b": "two", "v/c": "one"})
    assert list_names(tmp_path / "one") == ["v", "v/a", "v/c=v/a"]
    assert list_names(tmp_path / "two") == ["v", "v/b"]
    assert b"text" in (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        pytest.param("v/../../etc/x", tarfile.REGTYPE, "", id="leads out"),
        pytest.param("v/.wh.x", tarfile.REGTYPE, "", id="removes a file below"),
        pytest.param("v/x", tarfile.LNKTYPE, "v/nowhere", id="link to nothing"),
    ],
)
def test_refuses_what_no_layer_can_have(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    archive = make_archive(member(name, kind, link), contents={})
    with pytest.raises(LayerEntryError):
        split(tmp_path, archive, {name: "one"})
