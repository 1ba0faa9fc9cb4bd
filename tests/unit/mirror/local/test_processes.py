"""A started process is recognized whatever happens to the clock, and no other one is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mirror.local import processes
from mirror.local.processes import BackgroundProcesses, ProcessRecord


@pytest.fixture
def sleeper() -> Iterator[int]:
    """The pid of a process that leads its own session."""
    argv = [sys.executable, "-c", "import time; time.sleep(300)"]
    with subprocess.Popen(argv, start_new_session=True) as process:
        yield process.pid
        process.kill()


def test_a_clock_step_changes_nothing(sleeper: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel derives the boot's time from the clock, and psutil start times from that."""
    record = ProcessRecord.of(sleeper)
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    found = record.find()
    assert found is not None
    assert found.pid == sleeper
    assert [member.pid for member in record.find_session()] == [sleeper]


@pytest.mark.parametrize(
    "change",
    [{"start_ticks": 1}, {"boot_id": "another boot"}, {"start_ticks": 10**9}],
)
def test_another_process_with_the_same_pid_is_not_ours(
    sleeper: int, change: dict[str, str | int]
) -> None:
    record = replace(ProcessRecord.of(sleeper), **change)  # type: ignore[arg-type]
    assert record.find() is None
    assert record.find_session() == []


def test_records_of_version_0_1_0_are_compared_by_time(sleeper: int) -> None:
    created = psutil.Process(sleeper).create_time()
    assert ProcessRecord(pid=sleeper, created=created).find() is not None
    assert ProcessRecord(pid=sleeper, created=created - 5).find() is None


def test_a_record_survives_on_disk(tmp_path: Path) -> None:
    started = BackgroundProcesses(tmp_path)
    started.start("sleeper", (sys.executable, "-c", "import time; time.sleep(300)"))
    again = BackgroundProcesses(tmp_path)
    try:
        assert again.is_running()
        assert again.has_members()
    finally:
        assert again.stop({})
    assert not again.has_members()
    assert processes.ProcessRecord.of(os.getpid()).find() is not None


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"web": 5}', '{"web": {"pid": 1}}'])
def test_an_unreadable_record_lists_no_processes(tmp_path: Path, content: str) -> None:
    """As after a crash in the middle of a write of version 0.1.0."""
    background = BackgroundProcesses(tmp_path)
    background._records_path.write_text(content)
    assert background.read_records() == {}
    assert not background.is_running()
