"""`mirror warm` on this machine: fetches once, continues by itself, resumes, explains misses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import psutil
import pytest

from mirror.core.wait import Deadline, wait_until
from tests.faults.faulty_upstream import FaultyUpstream
from tests.local.mirror_home import MirrorHome

WHEEL_COUNT = 10
_turns = count()


@pytest.fixture
def lock(healthy_upstream: FaultyUpstream, tmp_path: Path) -> Path:
    """Hashed requirements of ten wheels that the mirror has not fetched yet."""
    turn = next(_turns)
    lines = []
    for number in range(WHEEL_COUNT):
        project = f"warm-{turn}-{number}"
        wheel = healthy_upstream.add_wheel(project, 300_000)
        lines.append(f"{project}==1.0 --hash=sha256:{wheel.sha256}\n")
    path = tmp_path / "requirements.txt"
    path.write_text("".join(lines))
    return path


def test_fetches_every_file_of_a_lock_once(
    home: MirrorHome, healthy_upstream: FaultyUpstream, lock: Path
) -> None:
    assert "there is no warm run" in home.run_mirror("warm", "--follow").stderr
    code, report = home.run_json("warm", str(lock))
    assert code == 0, report
    assert (report["files"], report["misses"]) == (WHEEL_COUNT, [])
    assert report["size"] > WHEEL_COUNT * 300_000
    assert set(healthy_upstream.count_downloads().values()) == {1}
    with healthy_upstream.inject_fault("503"):  # cached files need no upstream
        code, report = home.run_json("warm", str(lock))
    assert (code, report["files"]) == (0, WHEEL_COUNT), report
    assert set(healthy_upstream.count_downloads().values()) == {1}


def test_names_what_is_missing_and_why(home: MirrorHome, lock: Path) -> None:
    first, second, *_ = [line.partition("==")[0] for line in lock.read_text().splitlines()]
    lock.write_text(
        lock.read_text()
        + f"nobody-has-this==1.0\n{first}==9.9\n{second}==1.0 --hash=sha256:{'0' * 64}\n"
        + "lib @ git+https://git.example/lib\n"
    )
    code, report = home.run_json("warm", str(lock))
    assert code == 1
    assert report["files"] == WHEEL_COUNT
    reasons = {miss["name"]: miss["why"] for miss in report["misses"]}
    assert "has a project of this name" in reasons["nobody-has-this==1.0"]
    assert "no release ==9.9" in reasons[f"{first}==9.9"]
    assert "none of its files has a hash of the lock" in reasons[f"{second}==1.0"]
    assert "mirror add" in reasons["lib"]


def test_continues_after_ctrl_c_and_can_be_followed_again(
    home: MirrorHome, healthy_upstream: FaultyUpstream, lock: Path
) -> None:
    healthy_upstream.chunk_delay = 0.2  # four seconds for a file
    program = Path(sys.executable).with_name("mirror")
    command = subprocess.Popen(
        [str(program), "warm", "--local", str(lock), "--at-once", "2"],
        env={**os.environ, **home.env},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(
        lambda: bool(healthy_upstream.count_downloads()),
        deadline=Deadline.after(60),
        what="the first download",
    )
    command.send_signal(signal.SIGINT)
    _, output = command.communicate(timeout=120)
    healthy_upstream.chunk_delay = 0.0
    assert command.returncode == 130, output
    assert "mirror warm --follow --local" in output
    code, report = home.run_json("warm", "--follow")
    assert (code, report["files"]) == (0, WHEEL_COUNT), report
    assert set(healthy_upstream.count_downloads().values()) == {1}


def test_resumes_after_a_kill(
    home: MirrorHome, healthy_upstream: FaultyUpstream, lock: Path
) -> None:
    upstream = healthy_upstream
    upstream.chunk_delay = 0.1
    started = home.run_mirror("warm", str(lock), "--at-once", "1", "--detach")
    assert started.returncode == 0, started.stderr
    wait_until(
        lambda: len(upstream.count_downloads()) >= 3,
        deadline=Deadline.after(60),
        what="three downloads",
    )
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "mirror.warm" in command and str(home.root) in str(command):
            process.kill()
    followed = home.run_mirror("warm", "--follow")
    assert followed.returncode == 1
    assert "run it again" in followed.stderr
    upstream.chunk_delay = 0.0
    before = upstream.count_downloads()
    time.sleep(2.5)  # the cache finishes the download that was in progress
    code, report = home.run_json("warm", str(lock))
    assert (code, report["files"]) == (0, WHEEL_COUNT), report
    complete = list(before)[:-1]
    assert all(upstream.count_downloads()[path] == 1 for path in complete)


def test_reports_bad_input_in_one_line(home: MirrorHome) -> None:
    for arguments in ((), ("--follow", "x"), ("x", "--python", "2"), ("/nonexistent/uv.lock",)):
        result = home.run_mirror("warm", *arguments)
        assert result.returncode == 2, result.stderr
        assert "next:" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_dry_run_fetches_nothing(
    home: MirrorHome, healthy_upstream: FaultyUpstream, lock: Path
) -> None:
    before = sum(healthy_upstream.request_counts.values())
    code, report = home.run_json("warm", str(lock), "--dry-run", "--python", "3.12")
    assert code == 0
    assert len(report["order"]["wanted"]) == WHEEL_COUNT
    assert sum(healthy_upstream.request_counts.values()) == before
