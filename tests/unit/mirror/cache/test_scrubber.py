"""What rots is gone without anybody's command, and slowly looked for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mirror.cache.scrubber import Scrubber
from mirror.store.verify import verify_files
from tests.unit.mirror.store.test_verify import UPLOAD, cached_files, data

__all__ = ["data"]

QUICK = 10.0**12  # bytes a second


def test_a_round_mends_all_and_tells_which_uploads_are_not_served(data: Path) -> None:
    rotten, deleted = cached_files(data)[:30], cached_files(data)[30:40]
    for path in rotten:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    for path in deleted:
        path.unlink()
    upload = data / "devpi/+files" / UPLOAD
    upload.write_bytes(b"uploaD")
    scrub = Scrubber(data, rate=QUICK)
    assert scrub.lost_uploads() == []
    scrub.run_round()
    assert not [path for path in rotten if path.exists()]
    assert not upload.exists()
    assert scrub.repaired == 40
    assert scrub.lost_uploads() == ["lib-1.tar.gz"]
    assert [flaw.file for flaw in verify_files(data).flaws] == [f"devpi/+files/{UPLOAD}"]
    # a program that is started anew knows it too, and a restored upload is no longer named
    again = Scrubber(data, rate=QUICK)
    again.run_round()
    assert (again.repaired, again.lost_uploads()) == (0, ["lib-1.tar.gz"])
    upload.write_bytes(b"upload")
    assert again.lost_uploads() == []


def test_it_reads_no_more_than_so_many_bytes_a_second(data: Path) -> None:
    size = verify_files(data).size
    begun = time.monotonic()
    Scrubber(data, rate=size / 0.5).run_round()
    assert time.monotonic() - begun >= 0.5


def test_it_goes_round_by_itself_whatever_happens(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = data / "devpi/.sqlite"
    kept = base.read_bytes()
    base.write_bytes(b"not yet a database" * 100)
    path = cached_files(data)[50]
    path.write_bytes(b"rotten")
    scrub = Scrubber(data, interval=0.02, rate=QUICK)
    scrub.start()
    until = time.monotonic() + 30
    said = ""
    while "could not be checked" not in said and time.monotonic() < until:
        said += capsys.readouterr().out
        time.sleep(0.02)
    assert "could not be checked" in said
    base.write_bytes(kept)
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not path.exists()
    assert scrub.lost_uploads() == []
