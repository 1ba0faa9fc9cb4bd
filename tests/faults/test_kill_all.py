"""Kill all programs of the mirror (SIGKILL) during downloads and uploads: it recovers by itself.

MIRROR_KILLS sets the number of kills; here it is divided by five, because each start takes all
programs. test_kill_one_process.py kills single programs more often. docs/reliability.md, rows 1–3.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from mirror.client import IndexClient
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.local.processes import find_free_port
from mirror.settings import SIMPLE_JSON
from mirror.store.verify import verify_files
from tests.cluster.waiting import wait_for
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.uploads import check_uploads, create_hot_journal, upload_until_killed
from tests.wheels import make_wheel

KILLS = max(2, int(os.environ.get("MIRROR_KILLS", "3")) // 5)
RECOVERY_SECONDS = 60.0
DOWNLOADS = 4  # in progress at each kill


def _is_alive(pid: int) -> bool:
    """Return whether a process has not ended; one that is killed may answer for a moment."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class KillableMirror:
    """A local mirror in this process: many starts by the command line would take too long."""

    def __init__(self, home: Path, upstream: str) -> None:
        self.port = find_free_port()
        self.local_mirror = LocalMirror(home)
        self.data_dir = self.local_mirror.paths.data_dir
        self._settings = {"upstream": upstream, "port": self.port}

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        return self.local_mirror.read_root_password()

    def up(self) -> None:
        self.local_mirror.up(overrides=self._settings, deadline=Deadline.after(300))

    def kill(self) -> None:
        """Send SIGKILL to all processes and their children, as when a node fails."""
        killed = []
        for record in self.local_mirror.services.processes.read_records().values():
            for process in record.find_session():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
        wait_for("the end of the killed", lambda: not any(map(_is_alive, killed)), timeout=30)

    def fetch_sha256(self, project: str) -> str:
        """Return the SHA-256 of the project's file, downloaded as an installer does."""
        with httpx.Client(trust_env=False, timeout=60, follow_redirects=True) as client:
            url = f"{self.root_url}/workloads/stable/+simple/{project}/"
            page = client.get(url, headers={"Accept": SIMPLE_JSON}).raise_for_status()
            (file,) = page.json()["files"]
            response = client.get(str(page.url.join(file["url"]))).raise_for_status()
            return hashlib.sha256(response.content).hexdigest()


@pytest.fixture
def mirror(memory_dir: Path, healthy_upstream: FaultyUpstream) -> Iterator[KillableMirror]:
    mirror = KillableMirror(memory_dir / "home", healthy_upstream.url)
    mirror.up()
    yield mirror
    mirror.local_mirror.down(purge=False)


def test_recovers_from_kills_during_downloads_and_uploads(
    mirror: KillableMirror, healthy_upstream: FaultyUpstream, tmp_path: Path
) -> None:
    upstream = healthy_upstream
    chance = random.Random(7)
    recovery_seconds: list[float] = []
    uploaded: list[Path] = []
    interrupted_downloads = interrupted_uploads = 0
    for turn in range(KILLS):
        projects = [f"kill-{turn}-{number}" for number in range(DOWNLOADS)]
        digests = {project: upstream.add_wheel(project, 400_000).sha256 for project in projects}
        upstream.chunk_delay = 0.02  # half a second for a file
        stop = threading.Event()
        wheels = [
            make_wheel(tmp_path, f"mine-{turn}-{number}", "1.0", f"x = {number}\n")
            for number in range(40)
        ]
        with ThreadPoolExecutor(DOWNLOADS + 1) as pool:
            downloads = [pool.submit(mirror.fetch_sha256, project) for project in projects]
            upload = pool.submit(
                upload_until_killed, mirror.root_url, mirror.password, wheels, stop
            )
            time.sleep(chance.uniform(0.05, 1.2))
            mirror.kill()
            killed_at = time.monotonic()
            stop.set()
            interrupted_downloads += sum(download.exception() is not None for download in downloads)
            acknowledged = upload.result()
        interrupted_uploads += acknowledged < len(wheels)
        upstream.chunk_delay = 0.0
        mirror.up()
        for project in projects:
            assert mirror.fetch_sha256(project) == digests[project]
        recovery_seconds.append(time.monotonic() - killed_at)
        attempted = wheels[: acknowledged + 1]
        check_uploads(mirror.root_url, mirror.password, attempted)
        uploaded += attempted
    assert verify_files(mirror.data_dir).flaws == ()
    check_uploads(mirror.root_url, mirror.password, uploaded)
    print(
        f"{KILLS} kills interrupted {interrupted_downloads} downloads and {interrupted_uploads} "
        f"series of uploads; recovered after {statistics.median(recovery_seconds):.1f} s (median), "
        f"{max(recovery_seconds):.1f} s at most"
    )
    assert max(recovery_seconds) <= RECOVERY_SECONDS


def test_starts_with_a_hot_journal_and_a_missing_file(
    mirror: KillableMirror, tmp_path: Path
) -> None:
    """A kill rarely leaves both; devpi by itself would never start again."""
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    with IndexClient(mirror.root_url, Deadline.after(60)) as client:
        client.login("root", mirror.password)
        client.upload(wheel)
    mirror.kill()
    server_dir = mirror.local_mirror.paths.server_dir
    (stored,) = server_dir.glob(f"+files/**/{wheel.name}")
    stored.unlink()
    create_hot_journal(server_dir / ".sqlite")
    start = time.monotonic()
    mirror.up()
    assert time.monotonic() - start <= RECOVERY_SECONDS
    (flaw,) = verify_files(mirror.data_dir).flaws
    assert (flaw.private, flaw.state) == (True, "missing")
    with IndexClient(mirror.root_url, Deadline.after(60)) as client:
        client.login("root", mirror.password)
        assert client.upload(wheel).outcome == "restored"
    assert verify_files(mirror.data_dir).flaws == ()
