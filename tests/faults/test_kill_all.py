"""kill -9 of everything, in the middle of downloads and of commits at once (faults, rows 1–3).

MIRROR_KILLS says how often: a fifth of it, as each start is of all programs. Parts of the mirror
are killed more often in test_kill_often.py.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from mirror.client import IndexClient
from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.local.processes import find_free_port
from mirror.store.verify import verify_files
from tests.faults.counting_upstream import SIMPLE_JSON, CountingUpstream
from tests.wheels import make_wheel

KILLS = max(2, int(os.environ.get("MIRROR_KILLS", "3")) // 5)
READY_SECONDS = 60.0
FILES = 4  # under way at each kill


class KillableMirror:
    """A mirror of this machine, driven without its command line: a hundred starts take long."""

    def __init__(self, home: Path, upstream: str) -> None:
        self.port = find_free_port()
        self.local_mirror = LocalMirror(home)
        self._settings = {"upstream": upstream, "port": self.port}

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self.local_mirror.up(overrides=self._settings, deadline=Deadline.after(300))

    def kill(self) -> None:
        """All processes and what they started, by SIGKILL, as when a pod is lost."""
        known = self.local_mirror.services.processes.read_records()
        for one in known.values():
            for process in one.find_session():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def fetch_sha256(self, project: str) -> str:
        """SHA-256 of the project's file, as an installer gets it."""
        with httpx.Client(trust_env=False, timeout=60, follow_redirects=True) as client:
            url = f"{self.root}/workloads/stable/+simple/{project}/"
            page = client.get(url, headers={"Accept": SIMPLE_JSON})
            page.raise_for_status()
            (file,) = page.json()["files"]
            body = client.get(str(page.url.join(file["url"])))
            body.raise_for_status()
            return hashlib.sha256(body.content).hexdigest()


@pytest.fixture
def mirror(memory: Path, source: CountingUpstream) -> Iterator[KillableMirror]:
    made = KillableMirror(memory / "home", f"{source.url}/simple/")
    made.up()
    yield made
    made.local_mirror.down(purge=False)


def test_it_is_right_again_by_itself(
    mirror: KillableMirror, source: CountingUpstream, tmp_path: Path
) -> None:
    chance = random.Random(7)
    took, cut_downloads, cut_commits = [], 0, 0
    uploads: list[Path] = []
    for turn in range(KILLS):
        projects = [f"kill-{turn}-{number}" for number in range(FILES)]
        names = {project: source.add_wheel(project, 400_000) for project in projects}
        source.chunk_delay = 0.02  # half a second a file
        stop = threading.Event()
        mine = [
            make_wheel(tmp_path, f"mine-{turn}-{number}", "1.0", f"x = {number}\n")
            for number in range(40)
        ]
        with ThreadPoolExecutor(FILES + 1) as pool:
            fetching = [pool.submit(mirror.fetch_sha256, project) for project in projects]
            sending = pool.submit(_upload, mirror, mine, stop)
            time.sleep(chance.uniform(0.05, 1.2))
            mirror.kill()
            begun = time.monotonic()
            stop.set()
            cut_downloads += sum(one.exception() is not None for one in fetching)
            sent = sending.result()
        cut_commits += sent < len(mine)
        source.chunk_delay = 0.0
        mirror.up()
        for project in projects:
            assert mirror.fetch_sha256(project) == source.sha256(names[project])
        took.append(time.monotonic() - begun)
        uploads += mine[: sent + 1]
        _all_there(mirror, mine[: sent + 1])
    assert verify_files(mirror.local_mirror.paths.data_dir).flaws == ()
    _all_there(mirror, uploads)
    print(
        f"{KILLS} kills: {cut_downloads} downloads and {cut_commits} rows of uploads cut off; "
        f"right again after {statistics.median(took):.1f} s (median), {max(took):.1f} s at most"
    )
    assert max(took) <= READY_SECONDS


def _upload(mirror: KillableMirror, wheels: list[Path], stop: threading.Event) -> int:
    """One after the other until it is cut off; how many were acknowledged."""
    sent = 0
    with suppress(MirrorError), IndexClient(mirror.root, Deadline.after(60)) as client:
        client.login("root", mirror.local_mirror.read_root_password())
        for wheel in wheels:
            if stop.is_set():
                break
            client.upload(wheel)
            sent += 1
    return sent


def _all_there(mirror: KillableMirror, wheels: list[Path]) -> None:
    """What was acknowledged is there; the one that was cut off can be sent again."""
    with IndexClient(mirror.root, Deadline.after(120)) as client:
        client.login("root", mirror.local_mirror.read_root_password())
        for number, wheel in enumerate(wheels):
            outcome = client.upload(wheel).outcome
            assert outcome == "present" or number == len(wheels) - 1, f"{wheel.name}: {outcome}"


def test_a_hot_journal_and_a_missing_last_file_at_start(
    mirror: KillableMirror, tmp_path: Path
) -> None:
    """Planted: what a kill leaves rarely, and what stops devpi for ever by itself."""
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    with IndexClient(mirror.root, Deadline.after(60)) as client:
        client.login("root", mirror.local_mirror.read_root_password())
        client.upload(wheel)
    mirror.kill()
    serverdir = mirror.local_mirror.paths.server_dir
    (stored,) = serverdir.glob(f"+files/**/{wheel.name}")
    stored.unlink()
    create_hot_journal(serverdir / ".sqlite")
    begun = time.monotonic()
    mirror.up()
    assert time.monotonic() - begun <= READY_SECONDS
    (flaw,) = verify_files(mirror.local_mirror.paths.data_dir).flaws
    assert (flaw.private, flaw.state) == (True, "missing")
    with IndexClient(mirror.root, Deadline.after(60)) as client:
        client.login("root", mirror.local_mirror.read_root_password())
        assert client.upload(wheel).outcome == "restored"
    assert verify_files(mirror.local_mirror.paths.data_dir).flaws == ()


def create_hot_journal(database: Path) -> None:
    """The files as they are when a writer is killed after its pages, before its commit."""
    before = database.read_bytes()
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN IMMEDIATE")
    for number in range(500):
        writer.execute("INSERT INTO changelog VALUES (?, ?)", (10**6 + number, b"x" * 4000))
    half, journal = database.read_bytes(), database.with_name(".sqlite-journal").read_bytes()
    writer.rollback()
    writer.close()
    assert half != before
    database.write_bytes(half)
    database.with_name(".sqlite-journal").write_bytes(journal)
