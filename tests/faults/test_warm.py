"""`mirror warm` on this machine: bounded, goes on by itself, resumes, names what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from mirror.core.wait import Deadline, wait_until
from tests.faults.counting_upstream import CountingUpstream
from tests.local.mirror_home import MirrorHome

WHEEL_COUNT = 10
_round = count()


@pytest.fixture
def lock(source: CountingUpstream, tmp_path: Path) -> Path:
    """Requirements with hashes of ten wheels that the mirror does not know yet."""
    lines = []
    turn = next(_round)
    for number in range(WHEEL_COUNT):
        project = f"warm-{turn}-{number}"
        name = source.add_wheel(project, 300_000)
        lines.append(f"{project}==1.0 --hash=sha256:{source.sha256(name)}\n")
    path = tmp_path / "requirements.txt"
    path.write_text("".join(lines))
    return path


def count_downloads(source: CountingUpstream) -> dict[str, int]:
    return {path: n for path, n in source.request_counts.items() if path.startswith("/files/")}


def run_warm(place: MirrorHome, *words: str) -> tuple[int, dict[str, Any]]:
    done = place.run_mirror("warm", "-o", "json", *words)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return done.returncode, told


def test_all_of_a_lock_once(place: MirrorHome, source: CountingUpstream, lock: Path) -> None:
    assert "there is no warm run" in place.run_mirror("warm", "--follow").stderr
    code, told = run_warm(place, str(lock))
    assert code == 0, told
    assert (told["files"], told["misses"]) == (WHEEL_COUNT, [])
    assert told["size"] > WHEEL_COUNT * 300_000
    assert set(count_downloads(source).values()) == {1}
    source.is_down = True  # what is there needs no upstream
    code, again = run_warm(place, str(lock))
    assert (code, again["files"]) == (0, WHEEL_COUNT), again
    assert set(count_downloads(source).values()) == {1}


def test_what_is_missing_is_named_with_its_reason(
    place: MirrorHome, source: CountingUpstream, lock: Path
) -> None:
    one, two, *_ = [line.partition("==")[0] for line in lock.read_text().splitlines()]
    lock.write_text(
        lock.read_text()
        + f"nobody-has-this==1.0\n{one}==9.9\n{two}==1.0 --hash=sha256:{'0' * 64}\n"
        + "lib @ git+https://git.example/lib\n"
    )
    code, told = run_warm(place, str(lock))
    assert code == 1
    assert told["files"] == WHEEL_COUNT
    why = {miss["name"]: miss["why"] for miss in told["misses"]}
    assert "has a project of this name" in why["nobody-has-this==1.0"]
    assert "no release ==9.9" in why[f"{one}==9.9"]
    assert "no hash of it is there" in why[f"{two}==1.0"]
    assert "mirror add" in why["lib"]


def test_it_goes_on_after_ctrl_c_and_is_found_again(
    place: MirrorHome, source: CountingUpstream, lock: Path
) -> None:
    source.chunk_delay = 0.2  # four seconds a file
    program = Path(sys.executable).with_name("mirror")
    words = [str(program), "warm", "--local", str(lock), "--at-once", "2"]
    command = subprocess.Popen(
        words, env={**os.environ, **place.env}, stderr=subprocess.PIPE, text=True
    )
    wait_until(
        lambda: bool(count_downloads(source)),
        deadline=Deadline.after(60),
        what="the first download",
    )
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=120)
    source.chunk_delay = 0.0
    assert command.returncode == 130, said
    assert "mirror warm --follow --local" in said
    code, told = run_warm(place, "--follow")
    assert (code, told["files"]) == (0, WHEEL_COUNT), told
    assert set(count_downloads(source).values()) == {1}


def test_killed_and_run_again_it_resumes(
    place: MirrorHome, source: CountingUpstream, lock: Path
) -> None:
    source.chunk_delay = 0.1
    started = place.run_mirror("warm", str(lock), "--at-once", "1", "--detach")
    assert started.returncode == 0, started.stderr
    wait_until(
        lambda: len(count_downloads(source)) >= 3,
        deadline=Deadline.after(60),
        what="three downloads",
    )
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if "mirror.warm" in words and str(place.root) in str(words):
            one.kill()
    ended = place.run_mirror("warm", "--follow")
    assert ended.returncode == 1
    assert "run it again" in ended.stderr
    source.chunk_delay = 0.0
    before = count_downloads(source)
    time.sleep(2.5)  # what was under way comes to its end
    code, told = run_warm(place, str(lock))
    assert (code, told["files"]) == (0, WHEEL_COUNT), told
    complete = list(before)[:-1]
    assert all(count_downloads(source)[path] == 1 for path in complete)


def test_bad_input_is_one_line(place: MirrorHome) -> None:
    for words in ((), ("--follow", "x"), ("x", "--python", "2"), ("/nonexistent/uv.lock",)):
        done = place.run_mirror("warm", *words)
        assert done.returncode == 2, done.stderr
        assert "next:" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_dry_run_fetches_nothing(place: MirrorHome, source: CountingUpstream, lock: Path) -> None:
    before = sum(source.request_counts.values())
    code, told = run_warm(place, str(lock), "--dry-run", "--python", "3.12")
    assert code == 0
    assert len(told["order"]["wanted"]) == WHEEL_COUNT
    assert sum(source.request_counts.values()) == before
