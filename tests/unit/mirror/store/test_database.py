"""Databases that a kill, a full disk or bad sectors left behind; written by the real devpi."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from devpi_server.fileutil import dumps, loads

from mirror.core.errors import UnfitError
from mirror.store.database import iter_database_files, repair_database
from mirror.store.ownership import ensure_writable
from mirror.store.prepare import prepare_server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A serverdir by devpi-init."""
    root = tmp_path_factory.mktemp("made")
    (root / "secrets").mkdir()
    for name in ("root-password", "secretfile"):
        (root / "secrets" / name).write_text("s" * 40)
    prepare_server(serverdir=root / "devpi", run_dir=root / "run", secrets=root / "secrets")
    return root / "devpi"


@pytest.fixture
def serverdir(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "devpi")
    return tmp_path / "devpi"


def append_transaction(serverdir: Path, key: str, renames: list[str]) -> int:
    """Append one that says that a file was stored, as devpi writes it."""
    value = {"hash_spec": "sha256=" + "a" * 64, "last_modified": "now", "project": "lib"}
    with closing(sqlite3.connect(serverdir / ".sqlite")) as base, base:
        (last,) = base.execute("SELECT MAX(serial) FROM changelog").fetchone()
        entry = dumps(({key: ("STAGEFILE", -1, value)}, renames))
        base.execute("INSERT INTO changelog VALUES (?, ?)", (last + 1, entry))
        base.execute("INSERT INTO kv VALUES (?, 'STAGEFILE', ?)", (key, last + 1))
    return int(last) + 1


def read_last_transaction(serverdir: Path) -> tuple[int, object]:
    with closing(sqlite3.connect(serverdir / ".sqlite")) as base:
        row = base.execute("SELECT serial, data FROM changelog ORDER BY serial DESC").fetchone()
    return row[0], loads(row[1])


USER = 10001
KEY = "workloads/stable/+f/aaa/bbb/lib-1.tar.gz"
RENAME = f"+files/{KEY}-{'b' * 64}-tmp"


def test_a_sound_database_is_left_as_it_is(serverdir: Path) -> None:
    before = (serverdir / ".sqlite").read_bytes()
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert (serverdir / ".sqlite").read_bytes() == before
    assert notes == []


def test_a_hot_journal_is_rolled_back(serverdir: Path) -> None:
    """A transaction whose pages were written and whose end was not."""
    before = read_last_transaction(serverdir)
    writer = sqlite3.connect(serverdir / ".sqlite", isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")  # spills to the file before the commit
    writer.execute("BEGIN IMMEDIATE")
    for number in range(200):
        writer.execute("INSERT INTO changelog VALUES (?, ?)", (1000 + number, b"x" * 4000))
    copy = serverdir.with_name("killed")
    shutil.copytree(serverdir, copy)
    writer.close()
    assert (copy / ".sqlite-journal").stat().st_size > 0
    notes: list[str] = []
    repair_database(copy, notes.append)
    assert read_last_transaction(copy) == before
    assert any("rolling back" in note for note in notes)
    assert not (copy / ".sqlite-journal").exists()


def test_the_last_transactions_file_is_missing(serverdir: Path) -> None:
    serial = append_transaction(serverdir, KEY, [RENAME])
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert read_last_transaction(serverdir) == (serial + 1, ({}, []))
    assert any("mirror add lib-1.tar.gz" in note for note in notes), notes
    assert [one.path.name for one in iter_database_files(serverdir)] == ["lib-1.tar.gz"], (
        "still known"
    )
    notes.clear()
    repair_database(serverdir, notes.append)
    assert read_last_transaction(serverdir)[0] == serial + 1, "a second start writes nothing"


def test_a_missing_public_file_is_no_loss(serverdir: Path) -> None:
    key = "root/pypi/+f/aaa/bbb/lib-1.tar.gz"
    append_transaction(serverdir, key, [f"+files/{key}-{'b' * 64}-tmp"])
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert notes == ["a cached file is missing and will be fetched again: lib-1.tar.gz"]
    assert not next(iter(iter_database_files(serverdir))).is_private


def test_what_devpi_finishes_itself_is_left_to_it(serverdir: Path) -> None:
    serial = append_transaction(serverdir, KEY, [RENAME])
    (serverdir / RENAME).parent.mkdir(parents=True)
    (serverdir / RENAME).write_text("content")
    stale = serverdir / f"+files/{KEY}-{'c' * 64}-tmp"
    stale.write_text("of an upload that never ended")
    repair_database(serverdir, lambda _: None)
    assert read_last_transaction(serverdir)[0] == serial
    assert (serverdir / RENAME).exists()
    assert not stale.exists()


def test_an_index_that_disagrees_is_built_again(serverdir: Path) -> None:
    with closing(sqlite3.connect(serverdir / ".sqlite")) as base, base:
        (root,) = base.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'kv_serial_idx'"
        ).fetchone()
        (size,) = base.execute("PRAGMA page_size").fetchone()
    page = bytearray((serverdir / ".sqlite").read_bytes())
    begin = (root - 1) * size
    page[begin : begin + 12] = b"\x0a\x00\x00\x00\x00" + size.to_bytes(2, "big") + b"\x00" * 5
    (serverdir / ".sqlite").write_bytes(page)
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert any("rebuilding" in note for note in notes)


def test_a_broken_database_is_named_with_the_way_back(serverdir: Path) -> None:
    content = bytearray((serverdir / ".sqlite").read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    (serverdir / ".sqlite").write_bytes(content)
    with pytest.raises(UnfitError, match="cannot be used") as told:
        repair_database(serverdir, lambda _: None)
    assert "restore" in told.value.next_step
    assert (serverdir / ".sqlite").read_bytes() == content, "nothing is lost"


def test_a_missing_database_is_not_taken_for_a_new_one(serverdir: Path) -> None:
    (serverdir / ".sqlite").unlink()
    with pytest.raises(UnfitError, match="cannot be used"):
        repair_database(serverdir, lambda _: None)
    assert not (serverdir / ".sqlite").exists()


def ensure_writable_as(data: Path, user: int) -> str:
    """What `own` says as that user: root may write everywhere."""
    back, forth = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(user)
            os.setuid(user)
            ensure_writable(data, lambda _: None)
            os.write(forth, b"ok")
        except UnfitError as named:
            os.write(forth, f"{named.why} {named.next_step}".encode())
        finally:
            os._exit(0)
    os.close(forth)
    os.waitpid(child, 0)
    with os.fdopen(back) as told:
        return told.read()


@pytest.fixture
def volume() -> Iterator[Path]:
    """Where another user may go, which pytest's folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "devpi/+files/workloads/stable").mkdir(parents=True)
        (data / "devpi/.sqlite").touch()
        for path in (data, *data.rglob("*")):
            os.chown(path, USER, USER)
        yield data


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to other users")
def test_modes_of_ours_are_given_back(volume: Path) -> None:
    deep = volume / "devpi/+files/workloads/stable"
    deep.chmod(0o555)
    (volume / "devpi/.sqlite").chmod(0o444)
    assert ensure_writable_as(volume, USER) == "ok"
    assert deep.stat().st_mode & 0o200
    assert (volume / "devpi/.sqlite").stat().st_mode & 0o200


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to other users")
def test_what_is_somebody_elses_is_named_with_the_command(volume: Path) -> None:
    os.chown(volume / "devpi/.sqlite", 0, 0)
    told = ensure_writable_as(volume, USER)
    assert "devpi/.sqlite is owned by 0:0, mode 0644" in told
    assert f"chown -R {USER}:{USER}" in told
