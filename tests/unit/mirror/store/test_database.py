"""Repair databases of the real devpi after a kill, on a full disk, or with bad sectors."""

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
def new_serverdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a server folder with devpi-init."""
    root = tmp_path_factory.mktemp("new")
    (root / "secrets").mkdir()
    for name in ("root-password", "secretfile"):
        (root / "secrets" / name).write_text("s" * 40)
    prepare_server(serverdir=root / "devpi", run_dir=root / "run", secrets=root / "secrets")
    return root / "devpi"


@pytest.fixture
def serverdir(new_serverdir: Path, tmp_path: Path) -> Path:
    shutil.copytree(new_serverdir, tmp_path / "devpi")
    return tmp_path / "devpi"


def append_transaction(serverdir: Path, key: str, renames: list[str]) -> int:
    """Append a transaction that stored a file, as devpi writes it; returns its serial."""
    value = {"hash_spec": "sha256=" + "a" * 64, "last_modified": "now", "project": "lib"}
    with closing(sqlite3.connect(serverdir / ".sqlite")) as database, database:
        (last,) = database.execute("SELECT MAX(serial) FROM changelog").fetchone()
        entry = dumps(({key: ("STAGEFILE", -1, value)}, renames))
        database.execute("INSERT INTO changelog VALUES (?, ?)", (last + 1, entry))
        database.execute("INSERT INTO kv VALUES (?, 'STAGEFILE', ?)", (key, last + 1))
    return int(last) + 1


def read_last_transaction(serverdir: Path) -> tuple[int, object]:
    with closing(sqlite3.connect(serverdir / ".sqlite")) as database:
        row = database.execute("SELECT serial, data FROM changelog ORDER BY serial DESC").fetchone()
    return row[0], loads(row[1])


USER = 10001
KEY = "workloads/stable/+f/aaa/bbb/lib-1.tar.gz"
RENAME = f"+files/{KEY}-{'b' * 64}-tmp"


def test_does_not_change_an_intact_database(serverdir: Path) -> None:
    before = (serverdir / ".sqlite").read_bytes()
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert (serverdir / ".sqlite").read_bytes() == before
    assert notes == []


def test_rolls_back_a_hot_journal(serverdir: Path) -> None:
    """Pages of the transaction were written to the database, its commit was not."""
    before = read_last_transaction(serverdir)
    writer = sqlite3.connect(serverdir / ".sqlite", isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")  # writes to the file before the commit
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


def test_skips_the_last_transaction_if_its_file_is_missing(serverdir: Path) -> None:
    serial = append_transaction(serverdir, KEY, [RENAME])
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert read_last_transaction(serverdir) == (serial + 1, ({}, []))
    assert any("mirror add lib-1.tar.gz" in note for note in notes), notes
    assert [file.path.name for file in iter_database_files(serverdir)] == ["lib-1.tar.gz"], (
        "the file is still listed"
    )
    notes.clear()
    repair_database(serverdir, notes.append)
    assert read_last_transaction(serverdir)[0] == serial + 1, "a second start writes nothing"


def test_a_missing_public_file_is_fetched_again(serverdir: Path) -> None:
    key = "root/pypi/+f/aaa/bbb/lib-1.tar.gz"
    append_transaction(serverdir, key, [f"+files/{key}-{'b' * 64}-tmp"])
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert notes == ["a cached file is missing and will be fetched again: lib-1.tar.gz"]
    assert not next(iter(iter_database_files(serverdir))).is_private


def test_leaves_files_that_devpi_renames_itself(serverdir: Path) -> None:
    serial = append_transaction(serverdir, KEY, [RENAME])
    (serverdir / RENAME).parent.mkdir(parents=True)
    (serverdir / RENAME).write_text("content")
    stale = serverdir / f"+files/{KEY}-{'c' * 64}-tmp"
    stale.write_text("of an interrupted upload")
    repair_database(serverdir, lambda _: None)
    assert read_last_transaction(serverdir)[0] == serial
    assert (serverdir / RENAME).exists()
    assert not stale.exists()


def test_rebuilds_an_index_that_disagrees_with_its_table(serverdir: Path) -> None:
    with closing(sqlite3.connect(serverdir / ".sqlite")) as database, database:
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'kv_serial_idx'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    page = bytearray((serverdir / ".sqlite").read_bytes())
    start = (root - 1) * size
    page[start : start + 12] = b"\x0a\x00\x00\x00\x00" + size.to_bytes(2, "big") + b"\x00" * 5
    (serverdir / ".sqlite").write_bytes(page)
    notes: list[str] = []
    repair_database(serverdir, notes.append)
    assert any("rebuilding" in note for note in notes)


def test_an_unusable_database_raises_with_the_next_step(serverdir: Path) -> None:
    content = bytearray((serverdir / ".sqlite").read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    (serverdir / ".sqlite").write_bytes(content)
    with pytest.raises(UnfitError, match="cannot be used") as error:
        repair_database(serverdir, lambda _: None)
    assert "restore" in error.value.next_step
    assert (serverdir / ".sqlite").read_bytes() == content, "the file is unchanged"


def test_does_not_create_a_missing_database(serverdir: Path) -> None:
    (serverdir / ".sqlite").unlink()
    with pytest.raises(UnfitError, match="cannot be used"):
        repair_database(serverdir, lambda _: None)
    assert not (serverdir / ".sqlite").exists()


def ensure_writable_as(data: Path, user: int) -> str:
    """Run ensure_writable as another user, since root may write everywhere; returns the error."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(user)
            os.setuid(user)
            ensure_writable(data, lambda _: None)
            os.write(write_end, b"ok")
        except UnfitError as error:
            os.write(write_end, f"{error.why} {error.next_step}".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as output:
        return output.read()


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder that another user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "devpi/+files/workloads/stable").mkdir(parents=True)
        (data / "devpi/.sqlite").touch()
        for path in (data, *data.rglob("*")):
            os.chown(path, USER, USER)
        yield data


@pytest.mark.skipif(os.getuid() != 0, reason="changes owners of files")
def test_restores_write_permission_on_own_files(volume: Path) -> None:
    folder = volume / "devpi/+files/workloads/stable"
    folder.chmod(0o555)
    (volume / "devpi/.sqlite").chmod(0o444)
    assert ensure_writable_as(volume, USER) == "ok"
    assert folder.stat().st_mode & 0o200
    assert (volume / "devpi/.sqlite").stat().st_mode & 0o200


@pytest.mark.skipif(os.getuid() != 0, reason="changes owners of files")
def test_names_files_of_other_owners_and_the_command(volume: Path) -> None:
    os.chown(volume / "devpi/.sqlite", 0, 0)
    message = ensure_writable_as(volume, USER)
    assert "devpi/.sqlite is owned by 0:0, mode 0644" in message
    assert f"chown -R {USER}:{USER}" in message
