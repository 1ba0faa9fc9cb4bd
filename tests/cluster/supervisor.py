"""The supervisor of a lab: starts it, watches it, and cleans up at the end.

It stops the lab on SIGTERM, or when its owner or the lab's first process exits. If the supervisor
is killed, the lab's first process cleans up in its place.
python -m tests.cluster.supervisor JSON
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cleanup import clean_lab
from tests.cluster.network import connect_machine
from tests.cluster.options import LabOptions, state_root
from tests.cluster.record import MAX_LABS, LabRecord, claim_folder, claim_index, read_start_time


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRequest:
    """The lab that a client requests. With outlives_owner, it keeps running once it is ready."""

    options: LabOptions
    kubelite: Path
    store: Path
    owner: int
    outlives_owner: bool

    def to_json(self) -> str:
        return json.dumps(
            {
                "options": self.options.to_json(),
                "kubelite": str(self.kubelite),
                "store": str(self.store),
                "owner": self.owner,
                "outlives_owner": self.outlives_owner,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> LabRequest:
        data = json.loads(text)
        return cls(
            options=LabOptions.from_json(data["options"]),
            kubelite=Path(data["kubelite"]),
            store=Path(data["store"]),
            owner=data["owner"],
            outlives_owner=data["outlives_owner"],
        )


def main() -> None:
    request = LabRequest.from_json(sys.argv[1])
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    owner = os.pidfd_open(request.owner)
    wake, stop = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: bool(os.write(stop, b"!")))
    folder = state_root() / request.options.name
    folder_claim = claim_folder(folder)
    if folder_claim is None:
        _report(f"failed a lab named {request.options.name} is already running: stop it first")
        return
    claimed = _claim_any_index()
    if claimed is None:
        _report("failed too many labs are running: stop one first")
        return
    index, index_claim = claimed
    record = LabRecord(
        options=request.options,
        index=index,
        folder=folder,
        kubelite=request.kubelite,
        store=request.store,
        supervisor_pid=os.getpid(),
        supervisor_start_time=read_start_time(os.getpid()),
    )
    clean_lab(record.site.id, folder)
    try:
        _run_lab(record, request, owner, wake, (folder_claim, index_claim))
    finally:
        clean_lab(record.site.id, folder)


def _run_lab(
    record: LabRecord,
    request: LabRequest,
    owner: int,
    wake: int,
    claims: tuple[socket.socket, ...],
) -> None:
    """Start the lab, wait until it has to stop, and kill all of its processes."""
    record.site.control.mkdir(parents=True)
    shutil.rmtree(record.site.logs, ignore_errors=True)
    record.site.logs.mkdir(parents=True)
    record.save()
    lifeline, hold = os.pipe()
    status, report = os.pipe()
    machine = os.open("/proc/self/ns/net", os.O_RDONLY)
    lab = subprocess.Popen(
        (
            # It must survive the supervisor's death, because it then has to clean up.
            *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net"),
            *(sys.executable, "-m", "tests.cluster.lab_init"),
            *(str(record.folder), str(lifeline), str(report), str(machine)),
        ),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=(lifeline, report, machine, *(claim.fileno() for claim in claims)),
    )
    os.close(lifeline)
    os.close(report)
    lab_pid = lab.pid
    try:
        with os.fdopen(status) as lines, selectors.DefaultSelector() as watch:
            lab_pid = int(lines.readline().split()[1])
            connect_machine(record.site, lab_pid)
            os.write(hold, b"!")
            for descriptor in (owner, wake):
                watch.register(descriptor, selectors.EVENT_READ)
            watch.register(lines, selectors.EVENT_READ)
            while not _handle_events(watch, request, owner, lines.fileno()):
                pass
    finally:
        # unshare exits when the lab's first process and all its descendants are gone.
        os.kill(lab_pid, signal.SIGKILL)
        lab.wait(30)
        os.close(hold)


def _handle_events(
    watch: selectors.BaseSelector, request: LabRequest, owner: int, status: int
) -> bool:
    """Wait for events and handle them; return whether the lab has to stop."""
    for key, _ in watch.select():
        if key.fd != status:
            return True
        text = os.read(status, 65536).decode(errors="replace")
        if not text:
            return True
        for line in text.splitlines():
            _report(line)
            if line.startswith("failed "):
                return True
            if line == "ready":
                if request.outlives_owner:
                    watch.unregister(owner)
                _detach_from_client()
    return False


def _claim_any_index() -> tuple[int, socket.socket] | None:
    for index in range(MAX_LABS):
        claimed = claim_index(index)
        if claimed is not None:
            return index, claimed
    return None


def _report(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _detach_from_client()


def _detach_from_client() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    main()
