"""Processes of ours that outlive a command: started, found again, ended; never anybody else's."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from mirror.core import process
from mirror.core.errors import RefusedError

_STOP_SECONDS = 10.0
_TAIL = 10  # lines


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process of ours; ``created`` (epoch seconds) tells it from a later one of that pid."""

    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The process, if it is still the one we started."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 0.01
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def find_session(self) -> list[psutil.Process]:
        """It and what it left: nginx's workers outlive a killed master and hold its port.

        It leads a session. While the session has members its number is not given to anybody
        else, so they are ours if the leader is, or if there is none any more.
        """
        try:
            # a killed leader may stay as a zombie: the number is still its own
            if abs(psutil.Process(self.pid).create_time() - self.created) >= 0.01:
                return []
        except psutil.Error:
            pass
        members = []
        for one in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if os.getsid(one.pid) == self.pid and one.create_time() >= self.created - 0.01:
                    members.append(one)
        return members


class BackgroundProcesses:
    """The named processes whose record and logs stand in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = folder / "processes.json"

    def start(self, name: str, argv: tuple[str, ...], env: Mapping[str, str]) -> None:
        """Start one that outlives us; its output goes to ``<name>.log``, made anew."""
        log = self.log_path(name)
        log.unlink(missing_ok=True)
        pid = process.spawn(argv, log=log, env=env, cwd=self.folder)
        known = self.read_records()
        known[name] = ProcessRecord(pid=pid, created=psutil.Process(pid).create_time())
        write_atomically(self._record, json.dumps({n: asdict(one) for n, one in known.items()}))

    def read_records(self) -> dict[str, ProcessRecord]:
        """What was started, dead or alive; nothing where the record is unreadable."""
        try:
            kept = json.loads(self._record.read_text())
            return {name: ProcessRecord(**one) for name, one in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def is_running(self) -> bool:
        """Whether something was started, and all of it still runs."""
        known = self.read_records()
        return bool(known) and all(one.find() for one in known.values())

    def stop(self, signals: Mapping[str, signal.Signals]) -> bool:
        """End what we started, each with its own signal; True if anything ran."""
        asked: list[psutil.Process] = []
        orphans: list[psutil.Process] = []
        for name, one in self.read_records().items():
            leader, family = one.find(), one.find_session()
            if leader is None:
                orphans += family
            else:
                asked += family
                leader.send_signal(signals.get(name, signal.SIGTERM))
        _, left = psutil.wait_procs(asked, timeout=_STOP_SECONDS)
        for stubborn in [*left, *orphans]:
            with suppress(psutil.NoSuchProcess):
                stubborn.kill()
        psutil.wait_procs([*left, *orphans], timeout=_STOP_SECONDS)
        self._record.unlink(missing_ok=True)
        return bool(asked or orphans)

    def log_path(self, name: str) -> Path:
        """Where its output goes."""
        return self.folder / f"{name}.log"

    def read_log_tail(self, name: str) -> str:
        """The last lines it printed."""
        try:
            lines = self.log_path(name).read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL:])


def check_port_free(port: int) -> None:
    """Raise RefusedError that names who listens on the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as taken:
        raise RefusedError(
            f"port {port} is in use",
            why=f"by {_owner(port)}",
            next_step=f"end it, or choose another: mirror up --local --port {port + 1}",
        ) from taken


def find_free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def write_atomically(path: Path, text: str) -> None:
    """Atomically: a kill leaves the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """One writer at a time; the other is told who holds it. Freed by the kernel on a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            lock.seek(0)
            raise RefusedError(
                "another `mirror … --local` is at work",
                why=f"process {lock.read().strip() or 'unknown'} holds {lock.name}",
                next_step="wait for it to end, then run the command again",
            ) from held
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def _owner(port: int) -> str:
    try:
        for one in psutil.net_connections(kind="tcp"):
            if (
                one.status == psutil.CONN_LISTEN
                and one.laddr
                and one.laddr.port == port
                and one.pid
            ):
                owner = psutil.Process(one.pid)
                words = " ".join(owner.cmdline())[:120]
                return f"process {one.pid} of {owner.username()}: {words or owner.name()}"
    except psutil.Error:
        pass
    return "a process of another user (as root, `ss -ltnp` names it)"
