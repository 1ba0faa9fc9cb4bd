"""devpi's database: repaired before the server starts, read while it runs.

devpi-server 6 uses SQLite with two tables: ``changelog`` (serial → the changes and file renames of
a transaction, in devpi's own serialization) and ``kv`` (key → serial of its last change).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mirror.core.errors import UnfitError
from mirror.settings import MIRROR_INDEX
from mirror.volume import DEVPI_DATABASE, DEVPI_FILES

_FILE_KEYS = ("STAGEFILE", "PYPIFILE_NOMD5")  # devpi's key types of files, with and without a hash
_TEMPORARY_SUFFIX = "-tmp"
_BUSY_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFile:
    """A file that the database lists. ``hash_spec`` is ALGORITHM=HEX, empty if unknown."""

    path: Path
    index: str  # user/index
    project: str
    hash_spec: str

    @property
    def is_private(self) -> bool:
        """Whether no upstream has the file: only files of the pull-through index can be fetched."""
        return self.index != MIRROR_INDEX


def repair_database(serverdir: Path, report: Callable[[str], None]) -> None:
    """Make a database usable after a kill; no server may be running.

    - Roll back a hot journal by opening the database read-write. devpi opens it read-only first
      and would fail at every start.
    - Rebuild SQLite indexes that disagree with their table.
    - devpi repeats the last transaction at each start, and fails if one of its files is in neither
      the temporary nor the final place. An empty transaction after it makes devpi skip it.
    - Remove temporary files of transactions that were never committed.

    ``report`` gets one line for each repair. Raises UnfitError if the database cannot be repaired.
    """
    path = serverdir / DEVPI_DATABASE
    if not path.exists():
        raise _unusable(path, "it is missing")
    if path.with_name(f"{path.name}-journal").exists():
        report("rolling back a transaction that was interrupted")
    try:
        with closing(_connect(path, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            _check_integrity(connection, path, report)
            pending = _finish_last_transaction(connection, serverdir, report)
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from error
    _remove_temporary_files(serverdir, pending, report)


def iter_database_files(serverdir: Path) -> Iterator[DatabaseFile]:
    """Yield every file that should be on disk; the server may be running."""
    from devpi_server.fileutil import loads  # slow to import

    placeholders = ", ".join("?" * len(_FILE_KEYS))
    with closing(_connect(serverdir / DEVPI_DATABASE, "ro")) as connection:
        rows = connection.execute(
            "SELECT kv.key, changelog.data FROM kv JOIN changelog ON changelog.serial = kv.serial "
            f"WHERE kv.keyname IN ({placeholders})",
            _FILE_KEYS,
        ).fetchall()
    for key, data in rows:
        changes, _ = loads(bytes(data))
        value = changes[key][2]
        # a file without this date is known from a page, but was never fetched
        if not value or not value.get("last_modified"):
            continue
        user, _, rest = str(key).partition("/")
        sha256 = (value.get("hashes") or {}).get("sha256")
        yield DatabaseFile(
            path=serverdir / DEVPI_FILES / key,
            index=f"{user}/{rest.partition('/')[0]}",
            project=str(value.get("project") or ""),
            hash_spec=f"sha256={sha256}" if sha256 else str(value.get("hash_spec") or ""),
        )


def _check_integrity(
    connection: sqlite3.Connection, path: Path, report: Callable[[str], None]
) -> None:
    problems = _list_problems(connection)
    if problems and all("index" in line for line in problems):
        report(f"rebuilding the database's indexes: {problems[0]}")
        connection.execute("REINDEX")
        problems = _list_problems(connection)
    if problems:
        raise _unusable(path, "; ".join(problems[:3]))


def _list_problems(connection: sqlite3.Connection) -> list[str]:
    lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if lines == ["ok"] else lines


def _finish_last_transaction(
    connection: sqlite3.Connection, serverdir: Path, report: Callable[[str], None]
) -> frozenset[Path]:
    """Let devpi start without some files; return the temporary files that it will rename then."""
    row = connection.execute(
        "SELECT serial, data FROM changelog ORDER BY serial DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return frozenset()
    from devpi_server.fileutil import dumps, loads  # those of the version that wrote the data

    serial, data = row
    _, renames = loads(bytes(data))
    pending, missing = set(), []
    for name in renames:
        target = _rename_target(serverdir, name)
        if target is None:
            continue  # a deletion
        if (serverdir / name).exists():
            pending.add(serverdir / name)
        elif not target.exists():
            missing.append(target)
    if not missing:
        return frozenset(pending)
    for name in renames:  # devpi will skip this transaction, so finish its renames here
        source, target = serverdir / name, _rename_target(serverdir, name)
        if target is None:
            source.unlink(missing_ok=True)
        elif source in pending:
            source.replace(target)
    connection.execute("BEGIN IMMEDIATE")
    values = (serial + 1, bytes(dumps(({}, []))))  # a transaction without changes or files
    connection.execute("INSERT INTO changelog (serial, data) VALUES (?, ?)", values)
    connection.execute("COMMIT")
    for path in missing:
        report(_describe_missing(serverdir, path))
    return frozenset()


def _describe_missing(serverdir: Path, path: Path) -> str:
    index = "/".join(path.relative_to(serverdir / DEVPI_FILES).parts[:2])
    if index == MIRROR_INDEX:
        return f"a cached file is missing and will be fetched again: {path.name}"
    return (
        f"a private file is missing: {path.name} (index {index}); "
        f"upload it again with `mirror add {path.name}`, or restore a backup"
    )


def _rename_target(serverdir: Path, rename: str) -> Path | None:
    """Return the target of a temporary file (NAME-HASH-tmp); None if devpi deletes the file."""
    if not rename.endswith(_TEMPORARY_SUFFIX):
        return None
    stem = rename.removesuffix(_TEMPORARY_SUFFIX)
    name, dash, digest = stem.rpartition("-")
    hashed = dash and 8 <= len(digest) <= 64 and all(c in "0123456789abcdefABCDEF" for c in digest)
    return serverdir / (name if hashed else stem)


def _remove_temporary_files(
    serverdir: Path, pending: frozenset[Path], report: Callable[[str], None]
) -> None:
    paths = (serverdir / DEVPI_FILES).rglob(f"*{_TEMPORARY_SUFFIX}")
    leftovers = [path for path in paths if path not in pending]
    for path in leftovers:
        path.unlink(missing_ok=True)
    if leftovers:
        report(f"removed {len(leftovers)} files of interrupted uploads")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None)


def _unusable(path: Path, why: str) -> UnfitError:
    return UnfitError(
        f"the mirror's database cannot be used: {path}",
        why=why,
        next_step="restore the folder from a backup; or, if every upload can be repeated, "
        f"move {path.parent} away: public packages are fetched again, "
        "private ones come back with `mirror add`",
    )
