"""Background processes that outlive the command that started them.

A record on disk identifies each process by its pid, the kernel's boot and the clock tick in which
it started, so a later command finds it again and never signals somebody else's process. Setting the
clock changes neither.
"""

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
_TAIL_LINES = 10
_CLOCK_ERROR = 0.01  # seconds; the kernel counts start times in ticks of this length
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 19  # of /proc/PID/stat, counted after the command's name: ticks since the boot


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that was started here.

    ``start_ticks`` and ``boot_id`` tell it apart from a later process with the same pid.
    ``created`` (seconds since the epoch) orders records; it also identifies those of version 0.1.0,
    which have no ticks.
    """

    pid: int
    created: float
    start_ticks: int = 0
    boot_id: str = ""

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """Return the record of a process that runs now."""
        return cls(
            pid=pid,
            created=psutil.Process(pid).create_time(),
            start_ticks=_read_start_ticks(pid),
            boot_id=_read_boot_id(),
        )

    def find(self) -> psutil.Process | None:
        """Return the process if it is still running."""
        try:
            candidate = psutil.Process(self.pid)
            is_same = self._compare_start(candidate) == 0
            is_running = is_same and candidate.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.Error):
            return None
        return candidate if is_running else None

    def find_session(self) -> list[psutil.Process]:
        """Return all processes of its session, even if the process itself has exited.

        nginx's workers outlive a killed master and keep its port. The process leads a session.
        While a session has members, the kernel gives its number to no other process, so the
        members belong to this record if the leader is this process or has exited.
        """
        try:
            # a killed leader may remain as a zombie; the pid is then still its own
            if self._compare_start(psutil.Process(self.pid)) != 0:
                return []
        except (OSError, psutil.Error):
            pass
        members = []
        for candidate in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if os.getsid(candidate.pid) == self.pid and self._compare_start(candidate) >= 0:
                    members.append(candidate)
        return members

    def _compare_start(self, candidate: psutil.Process) -> int:
        """Return -1, 0 or 1: a process started before, with or after this one; -1: another boot."""
        if not self.boot_id:
            difference = candidate.create_time() - self.created
            return 0 if abs(difference) < _CLOCK_ERROR else -1 if difference < 0 else 1
        if self.boot_id != _read_boot_id():
            return -1
        ticks = _read_start_ticks(candidate.pid) - self.start_ticks
        return (ticks > 0) - (ticks < 0)


class BackgroundProcesses:
    """Named background processes; their records and logs are in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records_path = folder / "processes.json"

    def start(self, name: str, argv: tuple[str, ...], env: Mapping[str, str] | None = None) -> None:
        """Start a process that outlives this one, with ``env`` added to our environment.

        Its output replaces ``<name>.log``.
        """
        log = self.log_path(name)
        log.unlink(missing_ok=True)
        env = {**os.environ, **(env or {})}
        pid = process.spawn(argv, log=log, env=env, cwd=self.folder)
        records = self.read_records()
        records[name] = ProcessRecord.of(pid)
        document = {name: asdict(record) for name, record in records.items()}
        write_atomically(self._records_path, json.dumps(document))

    def read_records(self) -> dict[str, ProcessRecord]:
        """Return all started processes, running or not; nothing if the file is unreadable."""
        try:
            document = json.loads(self._records_path.read_text())
            return {name: ProcessRecord(**record) for name, record in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def is_running(self) -> bool:
        """Return whether processes were started and all of them still run."""
        records = self.read_records()
        return bool(records) and all(record.find() for record in records.values())

    def has_members(self) -> bool:
        """Return whether any started process, or a child that it left behind, still runs."""
        return any(record.find_session() for record in self.read_records().values())

    def stop(self, signals: Mapping[str, signal.Signals]) -> bool:
        """Stop all processes; return whether any was running.

        Each process gets its entry of ``signals`` (default: SIGTERM). What still runs after 10
        seconds, and what an exited process has left behind, is killed.
        """
        signaled: list[psutil.Process] = []
        orphans: list[psutil.Process] = []
        for name, record in self.read_records().items():
            leader, session = record.find(), record.find_session()
            if leader is None:
                orphans += session
            else:
                signaled += session
                leader.send_signal(signals.get(name, signal.SIGTERM))
        _, remaining = psutil.wait_procs(signaled, timeout=_STOP_SECONDS)
        remaining += orphans
        for survivor in remaining:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(remaining, timeout=_STOP_SECONDS)
        self._records_path.unlink(missing_ok=True)
        return bool(signaled or orphans)

    def log_path(self, name: str) -> Path:
        """Return the file that the output of a process goes to."""
        return self.folder / f"{name}.log"

    def read_log_tail(self, name: str) -> str:
        """Return the last 10 lines of a process's output."""
        try:
            lines = self.log_path(name).read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])


def _read_start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot. Raises OSError."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[_START_FIELD])


def _read_boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def check_port_free(port: int) -> None:
    """Raise RefusedError, with the process that listens, if the loopback port is in use."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise RefusedError(
            f"port {port} is in use",
            why=f"by {_describe_listener(port)}",
            next_step=f"stop it, or choose another port: mirror up --local --port {port + 1}",
        ) from error


def find_free_port() -> int:
    """Return a loopback port that is free now; another process may take it at any time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def write_atomically(path: Path, text: str) -> None:
    """Replace a file. If the process is killed, either the old or the new file is there."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of a block.

    Raises RefusedError, with the pid of the holder, if another process holds it. The kernel
    releases the lock of a killed process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise RefusedError(
                "another `mirror … --local` command is running",
                why=f"process {lock.read().strip() or 'unknown'} holds {lock.name}",
                next_step="wait until it ends, then run this command again",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def _describe_listener(port: int) -> str:
    """Return the pid, user and command line of the process that listens on a port."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            address, pid = connection.laddr, connection.pid
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and pid:
                owner = psutil.Process(pid)
                command = " ".join(owner.cmdline())[:120] or owner.name()
                return f"process {pid} of {owner.username()}: {command}"
    except psutil.Error:
        pass
    return "a process of another user (as root, `ss -ltnp` names it)"
