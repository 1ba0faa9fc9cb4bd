"""kill -9 of the server in the middle of commits, and of the fetcher in the middle of downloads.

MIRROR_KILLS says how often each (docs/reliability.md has the figures of 100); the whole mirror is
killed in test_kill.py. Here each is started as in the pod: the init container's program once, then,
after each kill, the container's own alone.
"""

from __future__ import annotations

import hashlib
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

import httpx
import pytest

from mirror import devpi
from mirror.client import IndexClient
from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from mirror.settings import ServerSettings
from mirror.store.prepare import prepare_server
from mirror.store.verify import verify_files
from tests.faults.counting_upstream import SIMPLE_JSON, CountingUpstream
from tests.faults.test_kill_all import create_hot_journal
from tests.wheels import make_wheel

KILLS = int(os.environ.get("MIRROR_KILLS", "5"))
READY_SECONDS = 60.0
PASSWORD = secrets.token_urlsafe(40)


class ForkedDevpi:
    """devpi with our plugin, in a fork that has imported it already."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = find_free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        (home / "secrets").mkdir(parents=True)
        for name in ("root-password", "secretfile"):
            (home / "secrets" / name).write_text(PASSWORD)
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"
        self._pid = 0

    def _read(self) -> str:
        assert self._forker.stdout is not None
        return self._forker.stdout.readline().strip()

    @property
    def journal(self) -> Path:
        """There while a transaction is written, and after a kill that cut one off."""
        return self.home / "data/devpi/.sqlite-journal"

    def prepare(self) -> None:
        """The init container."""
        data = self.home / "data"
        prepare_server(
            serverdir=data / "devpi", run_dir=self.home / "run", secrets=self.home / "secrets"
        )
        (data / "private").mkdir(exist_ok=True)

    def start(self) -> None:
        """The container; returns when it answers."""
        data = self.home / "data"
        layout = devpi.DevpiPaths(serverdir=data / "devpi", run_dir=self.home / "run")
        argv = devpi.build_server_argv(
            "python", layout, ServerSettings(), port=self.port, markers=data / "private"
        )
        order = {"argv": list(argv[3:]), "log": str(self.home / "log")}
        assert self._forker.stdin is not None
        self._forker.stdin.write(json.dumps(order) + "\n")
        self._forker.stdin.flush()
        self._pid = int(self._read())
        with IndexClient(self.root, Deadline.after(120)) as client:
            wait_until(client.is_alive, deadline=Deadline.after(120), what="devpi", why=self._log)

    def _log(self) -> str:
        return (self.home / "log").read_text()[-2000:]

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    @property
    def is_alive(self) -> bool:
        return Path(f"/proc/{self._pid}").exists()

    def stop(self) -> None:
        self.kill()
        assert self._forker.stdin is not None
        self._forker.stdin.close()
        self._forker.wait(30)


@pytest.fixture
def server(memory: Path) -> Iterator[ForkedDevpi]:
    made = ForkedDevpi(memory / "home")
    try:
        made.prepare()
        made.start()
        with IndexClient(made.root, Deadline.after(60)) as client:
            client.login("root", PASSWORD)
            client.ensure_indexes("http://127.0.0.1:9/simple/")
        yield made
    finally:
        made.stop()


def test_in_the_middle_of_commits(server: ForkedDevpi, tmp_path: Path) -> None:
    """Every second kill waits for a transaction that is being written."""
    chance = random.Random(11)
    took: list[float] = []
    everything: list[Path] = []
    cut = hot = lost = 0
    for turn in range(KILLS):
        wheels = [
            make_wheel(tmp_path, f"mine-{turn}-{number}", "1.0", f"x = {number}\n")
            for number in range(300)
        ]
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            begin = threading.Event()
            sending = pool.submit(_upload, server, wheels, stop, begin)
            begin.wait(60)
            time.sleep(chance.uniform(0.0, 0.8))
            while turn % 2 == 0 and not server.journal.exists():
                assert not sending.done()
            server.kill()
            begun = time.monotonic()
            stop.set()
            sent = sending.result()
        assert sent < len(wheels), "the kill came after the last upload"
        cut += 1
        hot += server.journal.exists()
        server.start()
        took.append(time.monotonic() - begun)
        tried = wheels[: sent + 1]
        lost += _all_there(server, tried)
        everything += tried
    _all_there(server, everything)
    assert verify_files(server.home / "data").flaws == ()
    print(
        f"{KILLS} kills in {len(everything)} uploads: {cut} uploads cut off, {hot} with a hot "
        f"journal, {lost} undone; answers again after {statistics.median(took):.1f} s (median), "
        f"{max(took):.1f} s at most"
    )
    assert hot or KILLS < 3, "no kill fell into a commit"
    assert max(took) <= READY_SECONDS


def test_a_hot_journal_does_not_outlive_the_next_start(server: ForkedDevpi) -> None:
    """By itself devpi opens its database read-only, and fails at every start."""
    server.kill()
    wait_until(lambda: not server.is_alive, deadline=Deadline.after(10), what="devpi has ended")
    create_hot_journal(server.home / "data/devpi/.sqlite")
    server.start()
    assert not server.journal.exists()
    assert verify_files(server.home / "data").flaws == ()


def _upload(
    server: ForkedDevpi, wheels: list[Path], stop: threading.Event, begin: threading.Event
) -> int:
    """One after the other until it is cut off; how many were acknowledged."""
    sent = 0
    with suppress(MirrorError), IndexClient(server.root, Deadline.after(60)) as client:
        client.login("root", PASSWORD)
        begin.set()
        for wheel in wheels:
            if stop.is_set():
                break
            client.upload(wheel)
            sent += 1
    return sent


def _all_there(server: ForkedDevpi, wheels: list[Path]) -> bool:
    """Whatever was acknowledged; the last one was cut off and is sent again. True if it was gone"""
    with IndexClient(server.root, Deadline.after(600)) as client:
        client.login("root", PASSWORD)
        for number, wheel in enumerate(wheels):
            outcome = client.upload(wheel).outcome
            assert outcome == "present" or number == len(wheels) - 1, f"{wheel.name}: {outcome}"
    return outcome != "present"


def test_in_the_middle_of_downloads(source: CountingUpstream, tmp_path: Path) -> None:
    chance = random.Random(13)
    root, port = tmp_path / "data/public", find_free_port()
    argv = devpi.build_cache_argv(
        sys.executable, root=root, port=port, upstream=f"{source.url}/simple/", ca_bundle=None
    )
    took: list[float] = []
    cut = 0
    process = start_cache_server(argv, port)
    try:
        for turn in range(KILLS):
            projects = [f"cut-{turn}-{number}" for number in range(4)]
            names = {project: source.add_wheel(project, 300_000) for project in projects}
            source.chunk_delay = 0.02
            with ThreadPoolExecutor(4) as pool:
                asking = [pool.submit(fetch_sha256, port, root, project) for project in projects]
                time.sleep(chance.uniform(0.0, 0.6))
                process.kill()
                process.wait(10)
                begun = time.monotonic()
                cut += sum(one.exception() is not None for one in asking)
            source.chunk_delay = 0.0
            process = start_cache_server(argv, port)
            for project in projects:
                assert fetch_sha256(port, root, project) == source.sha256(names[project])
            took.append(time.monotonic() - begun)
        assert verify_files(tmp_path / "data").flaws == ()
        assert list((root / "partial").iterdir()) == []
    finally:
        process.kill()
        process.wait(10)
    print(
        f"{KILLS} kills, {cut} downloads cut off: every file right after "
        f"{statistics.median(took):.1f} s (median), {max(took):.1f} s at most"
    )
    assert max(took) <= READY_SECONDS


def start_cache_server(argv: tuple[str, ...], port: int) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
        return False

    wait_until(answers, deadline=Deadline.after(60), what="the fetcher answers")
    return started


def fetch_sha256(port: int, root: Path, project: str) -> str:
    """As nginx does: the fetcher says where the file lies; SHA-256 of what lies there."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        page = client.get(f"/workloads/stable/+simple/{project}/", headers={"Accept": SIMPLE_JSON})
        page.raise_for_status()
        held = root / page.headers["X-Accel-Redirect"].removeprefix("/+held/")
        (file,) = json.loads(held.read_bytes())["files"]
        answer = client.get("/" + file["url"].lstrip("./"))
        answer.raise_for_status()
        inside = answer.headers.get("X-Accel-Redirect")
        if inside is None:
            return hashlib.sha256(answer.content).hexdigest()
        return hashlib.sha256((root / inside.removeprefix("/+held/")).read_bytes()).hexdigest()
