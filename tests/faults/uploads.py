"""Upload wheels to a mirror that is killed meanwhile, and check what it has stored."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mirror.client import IndexClient
from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline


def upload_until_killed(
    root_url: str,
    password: str,
    wheels: Sequence[Path],
    stop: threading.Event,
    started: threading.Event | None = None,
) -> int:
    """Upload one wheel after another until one fails; return how many were acknowledged.

    ``started`` is set before the first upload; ``stop`` ends the uploads.
    """
    acknowledged = 0
    with suppress(MirrorError), IndexClient(root_url, Deadline.after(60)) as client:
        client.login("root", password)
        if started is not None:
            started.set()
        for wheel in wheels:
            if stop.is_set():
                break
            client.upload(wheel)
            acknowledged += 1
    return acknowledged


def check_uploads(root_url: str, password: str, wheels: Sequence[Path]) -> bool:
    """Assert that all wheels are stored; the last one, whose upload was cut off, may be missing.

    Uploads the last one again. Returns whether it was missing.
    """
    with IndexClient(root_url, Deadline.after(600)) as client:
        client.login("root", password)
        outcomes = [client.upload(wheel).outcome for wheel in wheels]
    for wheel, outcome in zip(wheels[:-1], outcomes[:-1], strict=True):
        assert outcome == "present", f"{wheel.name}: {outcome}"
    return outcomes[-1] != "present"


def create_hot_journal(database: Path) -> None:
    """Leave the database as a writer does that is killed between its pages and its commit."""
    before = database.read_bytes()
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    for number in range(500):
        writer.execute("INSERT INTO changelog VALUES (?, ?)", (10**6 + number, b"x" * 4000))
    half_written = database.read_bytes()
    journal = database.with_name(".sqlite-journal").read_bytes()
    writer.rollback()
    writer.close()
    assert half_written != before
    database.write_bytes(half_written)
    database.with_name(".sqlite-journal").write_bytes(journal)
