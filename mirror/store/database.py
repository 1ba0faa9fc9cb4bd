"""devpi's database, beside its server: mended before a start, read while it serves.

devpi-server 6: SQLite table ``changelog`` (serial → changes and file renames of a transaction,
in devpi's own serialisation) and ``kv`` (key → serial of its last change).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirror.core.errors import UnfitError
from mirror.settings import MIRROR_INDEX

_NAME = ".sqlite"
_FILE_KEYS = ("STAGEFILE", "PYPIFILE_NOMD5")  # devpi's keys of files, with and without a hash
_TEMPORARY = "-tmp"
_BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFile:
    """One file that the database says is there. ``spec`` is ALGORITHM=HEX, empty if unknown."""

    path: Path
    index: str  # user/index
    project: str
    hash_spec: str

    @property
    def is_private(self) -> bool:
        """Whether it exists here alone: the pull-through index gets its files again."""
        return self.index != MIRROR_INDEX


def repair_database(serverdir: Path, report: Callable[[str], None]) -> None:
    """Make a database that a kill left behind usable; only while no server runs.

    - A hot journal is rolled back by opening read-write: devpi opens read-only first, and would
      fail at every start.
    - Indexes that disagree with their table are built again.
    - A file of the last transaction that is in neither of its places stops devpi at every start,
      because it goes on with that transaction. An empty transaction after it says it is finished.
    - Unfinished files of transactions that were never committed are removed.

    Raises UnfitError that names the database and what to do where it cannot be mended.
    """
    path = serverdir / _NAME
    if not path.exists():
        raise _unusable(path, "it is missing")
    if path.with_name(f"{_NAME}-journal").exists():
        report("a transaction was cut off: it is rolled back")
    try:
        with closing(_connect(path, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            _check(connection, path, report)
            pending = _finish(connection, serverdir, report)
    except sqlite3.Error as broken:
        raise _unusable(path, str(broken)) from broken
    _sweep(serverdir, pending, report)


def iter_database_files(serverdir: Path) -> Iterator[DatabaseFile]:
    """Every file that should be on disk now; reads beside a running server."""
    loads = _reader()
    marks = ", ".join("?" * len(_FILE_KEYS))
    with closing(_connect(serverdir / _NAME, "ro")) as connection:
        rows = connection.execute(
            "SELECT kv.key, changelog.data FROM kv JOIN changelog ON changelog.serial = kv.serial "
            f"WHERE kv.keyname IN ({marks})",
            _FILE_KEYS,
        ).fetchall()
    for key, data in rows:
        changes, _ = loads(bytes(data))
        value = changes[key][2]
        # without a time of storing the file is known, and was never fetched
        if not value or not value.get("last_modified"):
            continue
        user, _, rest = str(key).partition("/")
        spec = value.get("hash_spec") or ""
        digest = (value.get("hashes") or {}).get("sha256")
        yield DatabaseFile(
            path=serverdir / "+files" / key,
            index=f"{user}/{rest.partition('/')[0]}",
            project=str(value.get("project") or ""),
            hash_spec=f"sha256={digest}" if digest else str(spec),
        )


def _check(connection: sqlite3.Connection, path: Path, told: Callable[[str], None]) -> None:
    found = _complaints(connection)
    if found and all("index" in line for line in found):
        told(f"the database's indexes are built again: {found[0]}")
        connection.execute("REINDEX")
        found = _complaints(connection)
    if found:
        raise _unusable(path, "; ".join(found[:3]))


def _complaints(connection: sqlite3.Connection) -> list[str]:
    lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if lines == ["ok"] else lines


def _finish(
    connection: sqlite3.Connection, serverdir: Path, told: Callable[[str], None]
) -> frozenset[Path]:
    """See to the last transaction; its files that devpi has yet to put into their places."""
    row = connection.execute(
        "SELECT serial, data FROM changelog ORDER BY serial DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return frozenset()
    serial, data = row
    _, renames = _reader()(bytes(data))
    pending, missing = set(), []
    for name in renames:
        target = _target(serverdir, name)
        if target is None:
            continue  # a deletion
        if (serverdir / name).exists():
            pending.add(serverdir / name)
        elif not target.exists():
            missing.append(target)
    if not missing:
        return frozenset(pending)
    for name in renames:  # what devpi would have done, now that it will not look again
        source, target = serverdir / name, _target(serverdir, name)
        if target is None:
            source.unlink(missing_ok=True)
        elif source in pending:
            source.replace(target)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT INTO changelog (serial, data) VALUES (?, ?)", (serial + 1, _nothing())
    )
    connection.execute("COMMIT")
    for path in missing:
        told(_gone(serverdir, path))
    return frozenset()


def _gone(serverdir: Path, path: Path) -> str:
    inside = path.relative_to(serverdir / "+files")
    if "/".join(inside.parts[:2]) == MIRROR_INDEX:
        return f"a cached file is missing and will be fetched again: {path.name}"
    return (
        f"a private file is missing: {path.name} (index {'/'.join(inside.parts[:2])}); "
        f"put it back with `mirror add {path.name}`, or restore a backup"
    )


def _target(serverdir: Path, rename: str) -> Path | None:
    """Where devpi moves a temporary file to (NAME-HASH-tmp); None for a name it deletes."""
    if not rename.endswith(_TEMPORARY):
        return None
    plain = rename.removesuffix(_TEMPORARY)
    name, dash, digest = plain.rpartition("-")
    hashed = dash and 8 <= len(digest) <= 64 and all(c in "0123456789abcdefABCDEF" for c in digest)
    return serverdir / (name if hashed else plain)


def _sweep(serverdir: Path, pending: frozenset[Path], told: Callable[[str], None]) -> None:
    left = [p for p in (serverdir / "+files").rglob(f"*{_TEMPORARY}") if p not in pending]
    for path in left:
        path.unlink(missing_ok=True)
    if left:
        told(f"removed {len(left)} files of uploads that were cut off")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _reader() -> Callable[[bytes], Any]:
    """devpi's own reader, of the version that wrote the data."""
    from devpi_server.fileutil import loads

    return loads  # type: ignore[no-any-return]


def _nothing() -> bytes:
    """A transaction of no changes and no files."""
    from devpi_server.fileutil import dumps

    return bytes(dumps(({}, [])))


def _unusable(path: Path, why: str) -> UnfitError:
    return UnfitError(
        f"the mirror's database cannot be used: {path}",
        why=why,
        next_step="restore the folder from a backup; or, if what was uploaded can be uploaded "
        f"again, move {path.parent} away: public packages are fetched again, "
        "private ones come back with `mirror add`",
    )
