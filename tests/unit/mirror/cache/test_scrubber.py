"""The scrubber finds corrupted files without a command, at a limited rate."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mirror.cache.scrubber import Scrubber
from mirror.store.verify import verify_files
from tests.unit.mirror.store.test_verify import UPLOAD, cached_files, data

__all__ = ["data"]

UNLIMITED = 10.0**12  # bytes a second


def test_a_round_repairs_the_cache_and_lists_lost_uploads(data: Path) -> None:
    corrupted, deleted = cached_files(data)[:30], cached_files(data)[30:40]
    for path in corrupted:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    for path in deleted:
        path.unlink()
    upload = data / "devpi/+files" / UPLOAD
    upload.write_bytes(b"uploaD")
    scrubber = Scrubber(data, rate=UNLIMITED)
    assert scrubber.lost_uploads() == []
    scrubber.run_round()
    assert not [path for path in corrupted if path.exists()]
    assert not upload.exists()
    assert scrubber.repaired == 40
    assert scrubber.lost_uploads() == ["lib-1.tar.gz"]
    assert [flaw.file for flaw in verify_files(data).flaws] == [f"devpi/+files/{UPLOAD}"]
    # a restarted program also lists it, and no longer does once the upload is restored
    restarted = Scrubber(data, rate=UNLIMITED)
    restarted.run_round()
    assert (restarted.repaired, restarted.lost_uploads()) == (0, ["lib-1.tar.gz"])
    upload.write_bytes(b"upload")
    assert restarted.lost_uploads() == []


class RecordedWaits(threading.Event):
    """Waits for no time, and remembers how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


def test_limits_the_bytes_read_per_second(data: Path) -> None:
    size = verify_files(data).size
    scrubber = Scrubber(data, rate=size / 500)
    waits = RecordedWaits()
    scrubber._never = waits
    scrubber.run_round()
    assert sum(waits.seconds) == pytest.approx(500)
    assert max(waits.seconds) < 100, "it waits between files, not once"


def test_continues_after_a_failed_round(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = data / "devpi/.sqlite"
    content = database.read_bytes()
    database.write_bytes(b"not yet a database" * 100)
    path = cached_files(data)[50]
    path.write_bytes(b"corrupted")
    scrubber = Scrubber(data, interval=0.02, rate=UNLIMITED)
    scrubber.start()
    end = time.monotonic() + 30
    output = ""
    while "could not be checked" not in output and time.monotonic() < end:
        output += capsys.readouterr().out
        time.sleep(0.02)
    assert "could not be checked" in output
    database.write_bytes(content)
    while path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not path.exists()
    assert scrubber.lost_uploads() == []
