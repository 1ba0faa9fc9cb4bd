"""The log of nginx is counted once, whatever nginx and others do to the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cache.request_log import RequestLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.log"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as log:
        log.write("".join(lines))


def test_counts_requests_hits_and_bytes(path: Path) -> None:
    log = RequestLog(path)
    append(path, "page 200 100 -\n", "page 200 50 200\n", "file 404 0 404\n", "private 200 7 200\n")
    log.read()
    assert log.requests == {
        ("page", "200"): 2,
        ("file", "404"): 1,
        ("private", "200"): 1,
    }
    assert (log.hits["page"], log.hits["file"]) == (1, 0)
    assert (log.sent_bytes["page"], log.sent_bytes["private"]) == (150, 7)
    assert log.count("page", "file") == 3


def test_counts_each_line_once_also_one_written_in_two_parts(path: Path) -> None:
    log = RequestLog(path)
    append(path, "page 200 1 -\npage 2")
    log.read()
    append(path, "00 1 -\n")
    log.read()
    log.read()
    assert log.requests == {("page", "200"): 2}


def test_upstream_statuses_after_an_internal_redirect_are_no_hit(path: Path) -> None:
    log = RequestLog(path)
    append(path, "file 200 9 200 : -\n")
    log.read()
    assert (log.count("file"), log.hits["file"]) == (1, 0)


def test_ignores_what_earlier_processes_have_logged(path: Path) -> None:
    append(path, "page 200 1 -\n")
    log = RequestLog(path)
    log.read()
    assert log.count("page") == 0
    append(path, "page 200 1 -\n")
    log.read()
    assert log.count("page") == 1


def test_a_missing_emptied_or_broken_log_stops_nothing(path: Path) -> None:
    log = RequestLog(path)
    log.read()
    append(path, "page 200 1 -\n" * 3)
    log.read()
    path.write_text("page 200 1 -\n")
    log.read()
    append(path, "what is this\n", "page x 1 -\n", "\xff\n", "page 200 1 -\n")
    log.read()
    assert log.count("page") == 5


def test_keeps_the_log_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.cache.request_log.MAX_BYTES", 50)
    log = RequestLog(path)
    append(path, "page 200 1 -\n" * 10)
    log.read()
    assert (log.count("page"), path.stat().st_size) == (10, 0)
    append(path, "page 200 1 -\n")
    log.read()
    assert log.count("page") == 11
