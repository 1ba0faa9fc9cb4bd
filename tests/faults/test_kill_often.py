"""kill -9 of the server in the middle of commits, and of the fetcher in the middle of downloads.

MIRROR_KILLS says how often each (docs/reliability.md has the figures of 100); the whole mirror is
killed in test_kill.py. Here each is started as in the pod: the init container's program first.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import socket
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
from mirror.core.wait import Deadline, until
from mirror.settings import ServerSettings
from mirror.store.prepare import prepare
from mirror.store.verify import verify
from tests.faults.upstream import JSON, Upstream
from tests.local.place import make_wheel

KILLS = int(os.environ.get("MIRROR_KILLS", "5"))
READY_SECONDS = 60.0
PASSWORD = secrets.token_urlsafe(40)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Server:
    """devpi with our plugin, in a fork that has imported it already."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.notes: list[str] = []
        (home / "secrets").mkdir(parents=True)
        for name in ("root-password", "secretfile"):
            (home / "secrets" / name).write_text(PASSWORD)
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"
        self._pid = 0

    def _read(self) -> str:
        assert self._forker.stdout is not None
        return self._forker.stdout.readline().strip()

    def start(self) -> None:
        """As the pod does: prepare, then the server; returns when it answers."""
        data = self.home / "data"
        prepare(
            serverdir=data / "devpi",
            run=self.home / "run",
            secrets=self.home / "secrets",
            told=self.notes.append,
        )
        (data / "private").mkdir(exist_ok=True)
        layout = devpi.Layout(serverdir=data / "devpi", run=self.home / "run")
        argv = devpi.server_argv(
            "python", layout, ServerSettings(), port=self.port, marks=data / "private"
        )
        order = {"argv": list(argv[3:]), "log": str(self.home / "log")}
        assert self._forker.stdin is not None
        self._forker.stdin.write(json.dumps(order) + "\n")
        self._forker.stdin.flush()
        self._pid = int(self._read())
        with IndexClient(self.root, Deadline.after(120)) as client:
            until(client.alive, deadline=Deadline.after(120), what="devpi", why=self._log)

    def _log(self) -> str:
        return (self.home / "log").read_text()[-2000:]

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        assert self._forker.stdin is not None
        self._forker.stdin.close()
        self._forker.wait(30)


@pytest.fixture
def server(memory: Path) -> Iterator[Server]:
    made = Server(memory / "home")
    try:
        made.start()
        with IndexClient(made.root, Deadline.after(60)) as client:
            client.login("root", PASSWORD)
            client.ensure_indexes("http://127.0.0.1:9/simple/")
        yield made
    finally:
        made.end()


def test_in_the_middle_of_commits(server: Server, tmp_path: Path) -> None:
    chance = random.Random(11)
    took: list[float] = []
    everything: list[Path] = []
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
            server.kill()
            begun = time.monotonic()
            stop.set()
            sent = sending.result()
        server.start()
        took.append(time.monotonic() - begun)
        tried = wheels[: sent + 1]
        _all_there(server, tried)
        everything += tried
    _all_there(server, everything)
    assert verify(server.home / "data").flaws == ()
    rolled = sum("rolled back" in note for note in server.notes)
    print(
        f"{KILLS} kills in {len(everything)} uploads, {rolled} with a hot journal: answers again "
        f"after {statistics.median(took):.1f} s (median), {max(took):.1f} s at most"
    )
    assert max(took) <= READY_SECONDS


def _upload(
    server: Server, wheels: list[Path], stop: threading.Event, begin: threading.Event
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


def _all_there(server: Server, wheels: list[Path]) -> None:
    """Whatever was acknowledged; the last one, which was cut off, can be sent again."""
    with IndexClient(server.root, Deadline.after(600)) as client:
        client.login("root", PASSWORD)
        for number, wheel in enumerate(wheels):
            outcome = client.upload(wheel).outcome
            assert outcome == "present" or number == len(wheels) - 1, f"{wheel.name}: {outcome}"


def test_in_the_middle_of_downloads(source: Upstream, tmp_path: Path) -> None:
    chance = random.Random(13)
    root, port = tmp_path / "data/public", free_port()
    argv = devpi.public_argv(
        sys.executable, root=root, port=port, upstream=f"{source.url}/simple/", ca_bundle=None
    )
    took: list[float] = []
    cut = 0
    process = _fetcher(argv, port)
    try:
        for turn in range(KILLS):
            projects = [f"cut-{turn}-{number}" for number in range(4)]
            names = {project: source.add(project, 300_000) for project in projects}
            source.pause = 0.02
            with ThreadPoolExecutor(4) as pool:
                asking = [pool.submit(_ask, port, root, project) for project in projects]
                time.sleep(chance.uniform(0.0, 0.6))
                process.kill()
                process.wait(10)
                begun = time.monotonic()
                cut += sum(one.exception() is not None for one in asking)
            source.pause = 0.0
            process = _fetcher(argv, port)
            for project in projects:
                assert _ask(port, root, project) == source.sha256(names[project])
            took.append(time.monotonic() - begun)
        assert verify(tmp_path / "data").flaws == ()
        assert list((root / "partial").iterdir()) == []
    finally:
        process.kill()
        process.wait(10)
    print(
        f"{KILLS} kills, {cut} downloads cut off: every file right after "
        f"{statistics.median(took):.1f} s (median), {max(took):.1f} s at most"
    )
    assert max(took) <= READY_SECONDS


def _fetcher(argv: tuple[str, ...], port: int) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
        return False

    until(answers, deadline=Deadline.after(60), what="the fetcher answers")
    return started


def _ask(port: int, root: Path, project: str) -> str:
    """As nginx does: the fetcher says where the file lies; SHA-256 of what lies there."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        page = client.get(f"/workloads/stable/+simple/{project}/", headers={"Accept": JSON})
        page.raise_for_status()
        held = root / page.headers["X-Accel-Redirect"].removeprefix("/+held/")
        (file,) = json.loads(held.read_bytes())["files"]
        answer = client.get("/" + file["url"].lstrip("./"))
        answer.raise_for_status()
        inside = answer.headers.get("X-Accel-Redirect")
        if inside is None:
            return hashlib.sha256(answer.content).hexdigest()
        return hashlib.sha256((root / inside.removeprefix("/+held/")).read_bytes()).hexdigest()
