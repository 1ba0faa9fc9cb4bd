"""Kill devpi (SIGKILL) during commits and the cache during downloads: they recover.

MIRROR_KILLS sets the number of kills of each (docs/reliability.md has the figures of 100).
Each program is started as in the pod: the init container once, then after each kill only the
program's own container. test_kill_all.py kills the whole mirror.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from mirror import devpi
from mirror.client import IndexClient
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from mirror.settings import ServerSettings
from mirror.store.prepare import prepare_server
from mirror.store.verify import verify_files
from tests.faults.cache_process import CacheProcess
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.uploads import check_uploads, create_hot_journal, upload_until_killed
from tests.wheels import make_wheel

KILLS = int(os.environ.get("MIRROR_KILLS", "5"))
RECOVERY_SECONDS = 60.0
PASSWORD = secrets.token_urlsafe(40)


class ForkedDevpi:
    """devpi with the mirror's plugin, in a fork of a process that has already imported it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data_dir = home / "data"
        self.port = find_free_port()
        self.root_url = f"http://127.0.0.1:{self.port}"
        (home / "secrets").mkdir(parents=True)
        for name in ("root-password", "secretfile"):
            (home / "secrets" / name).write_text(PASSWORD)
        self._fork_server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read_line() == "ready"
        self._pid = 0

    @property
    def journal(self) -> Path:
        """The file that exists during a transaction, and after a kill that interrupted one."""
        return self.data_dir / "devpi/.sqlite-journal"

    @property
    def is_alive(self) -> bool:
        return Path(f"/proc/{self._pid}").exists()

    def prepare(self) -> None:
        """Do what the init container does."""
        prepare_server(
            serverdir=self.data_dir / "devpi",
            run_dir=self.home / "run",
            secrets=self.home / "secrets",
        )
        (self.data_dir / "private").mkdir(exist_ok=True)

    def start(self) -> None:
        """Start the server as its container does; return when it answers."""
        argv = devpi.build_server_argv(
            "python",
            devpi.DevpiPaths(serverdir=self.data_dir / "devpi", run_dir=self.home / "run"),
            ServerSettings(),
            port=self.port,
            markers=self.data_dir / "private",
        )
        request = {"argv": list(argv[3:]), "log": str(self.home / "log")}
        assert self._fork_server.stdin is not None
        self._fork_server.stdin.write(json.dumps(request) + "\n")
        self._fork_server.stdin.flush()
        self._pid = int(self._read_line())
        with IndexClient(self.root_url, Deadline.after(120)) as client:
            wait_until(
                client.is_alive, deadline=Deadline.after(120), what="devpi", why=self._read_log
            )

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill()
        assert self._fork_server.stdin is not None
        self._fork_server.stdin.close()
        self._fork_server.wait(30)

    def _read_line(self) -> str:
        assert self._fork_server.stdout is not None
        return self._fork_server.stdout.readline().strip()

    def _read_log(self) -> str:
        return (self.home / "log").read_text()[-2000:]


@pytest.fixture
def server(memory_dir: Path) -> Iterator[ForkedDevpi]:
    server = ForkedDevpi(memory_dir / "home")
    try:
        server.prepare()
        server.start()
        with IndexClient(server.root_url, Deadline.after(60)) as client:
            client.login("root", PASSWORD)
            client.ensure_indexes("http://127.0.0.1:9/simple/")
        yield server
    finally:
        server.stop()


def test_devpi_recovers_from_kills_during_commits(server: ForkedDevpi, tmp_path: Path) -> None:
    """Every second kill waits until a transaction is being written."""
    chance = random.Random(11)
    recovery_seconds: list[float] = []
    uploaded: list[Path] = []
    hot_journals = undone = 0
    for turn in range(KILLS):
        wheels = [
            make_wheel(tmp_path, f"mine-{turn}-{number}", "1.0", f"x = {number}\n")
            for number in range(300)
        ]
        stop, started = threading.Event(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            upload = pool.submit(
                upload_until_killed, server.root_url, PASSWORD, wheels, stop, started
            )
            started.wait(60)
            time.sleep(chance.uniform(0.0, 0.8))
            while turn % 2 == 0 and not server.journal.exists():
                assert not upload.done()
            server.kill()
            killed_at = time.monotonic()
            stop.set()
            acknowledged = upload.result()
        assert acknowledged < len(wheels), "the kill came after the last upload"
        hot_journals += server.journal.exists()
        server.start()
        recovery_seconds.append(time.monotonic() - killed_at)
        attempted = wheels[: acknowledged + 1]
        undone += check_uploads(server.root_url, PASSWORD, attempted)
        uploaded += attempted
    check_uploads(server.root_url, PASSWORD, uploaded)
    assert verify_files(server.data_dir).flaws == ()
    print(
        f"{KILLS} kills in {len(uploaded)} uploads interrupted {KILLS} uploads: {hot_journals} "
        f"left a hot journal, {undone} were undone; answers again after "
        f"{statistics.median(recovery_seconds):.1f} s (median), {max(recovery_seconds):.1f} s "
        "at most"
    )
    assert hot_journals or KILLS < 3, "no kill interrupted a commit"
    assert max(recovery_seconds) <= RECOVERY_SECONDS


def test_devpi_starts_with_a_hot_journal(server: ForkedDevpi) -> None:
    """By itself devpi opens its database read-only and fails at every start."""
    server.kill()
    wait_until(lambda: not server.is_alive, deadline=Deadline.after(10), what="devpi has ended")
    create_hot_journal(server.data_dir / "devpi/.sqlite")
    server.start()
    assert not server.journal.exists()
    assert verify_files(server.data_dir).flaws == ()


def test_the_cache_recovers_from_kills_during_downloads(
    healthy_upstream: FaultyUpstream, tmp_path: Path
) -> None:
    upstream = healthy_upstream
    chance = random.Random(13)
    root = tmp_path / "data/public"
    cache = CacheProcess(root, upstream.url)
    recovery_seconds: list[float] = []
    interrupted = 0
    cache.start()
    try:
        for turn in range(KILLS):
            projects = [f"cut-{turn}-{number}" for number in range(4)]
            digests = {project: upstream.add_wheel(project, 300_000).sha256 for project in projects}
            upstream.chunk_delay = 0.02
            with ThreadPoolExecutor(4) as pool:
                downloads = [
                    pool.submit(cache.client.fetch_sha256, project) for project in projects
                ]
                time.sleep(chance.uniform(0.0, 0.6))
                cache.kill()
                killed_at = time.monotonic()
                interrupted += sum(download.exception() is not None for download in downloads)
            upstream.chunk_delay = 0.0
            cache.start()
            for project in projects:
                assert cache.client.fetch_sha256(project) == digests[project]
            recovery_seconds.append(time.monotonic() - killed_at)
        assert verify_files(tmp_path / "data").flaws == ()
        assert list((root / "partial").iterdir()) == []
    finally:
        cache.kill()
    print(
        f"{KILLS} kills interrupted {interrupted} downloads; every file is right after "
        f"{statistics.median(recovery_seconds):.1f} s (median), {max(recovery_seconds):.1f} s "
        "at most"
    )
    assert max(recovery_seconds) <= RECOVERY_SECONDS
