"""The process that a lab belongs to: it claims, starts, watches, and cleans up at the end.

It ends the lab on SIGTERM, when its owner's process ends, or when the lab's first process does.
Should it be killed itself, the lab's first process cleans up in its place.
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

from tests.cluster.cleanup import clean_lab
from tests.cluster.network import connect_machine
from tests.cluster.nodes import REPOSITORY
from tests.cluster.options import LabOptions, state_root
from tests.cluster.record import MAX_LABS, LabRecord, claim_folder, claim_index, read_start_time


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRequest:
    """What a client wants kept. stays: the lab outlives its owner once it is ready."""

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
    order = LabRequest.from_json(sys.argv[1])
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    owner = os.pidfd_open(order.owner)
    wake, stop = os.pipe()
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda *_: bool(os.write(stop, b"!")))
    folder = state_root() / order.options.name
    held = claim_folder(folder)
    if held is None:
        _say(f"failed a lab named {order.options.name} is already up: take it down first")
        return
    found = _claim_any_index()
    if found is None:
        _say("failed too many labs are up: take one down first")
        return
    index, number = found
    record = LabRecord(
        options=order.options,
        index=index,
        folder=folder,
        kubelite=order.kubelite,
        store=order.store,
        supervisor_pid=os.getpid(),
        supervisor_start_time=read_start_time(os.getpid()),
    )
    clean_lab(record.site.id, folder)
    try:
        _keep(record, order, owner, wake, (held, number))
    finally:
        clean_lab(record.site.id, folder)


def _keep(
    record: LabRecord, order: LabRequest, owner: int, wake: int, claims: tuple[socket.socket, ...]
) -> None:
    """Start the lab and return when it is to end, with all of its processes gone."""
    record.site.control.mkdir(parents=True)
    shutil.rmtree(record.site.logs, ignore_errors=True)
    record.site.logs.mkdir(parents=True)
    record.save()
    lifeline, hold = os.pipe()
    status, report = os.pipe()
    machine = os.open("/proc/self/ns/net", os.O_RDONLY)
    lab = subprocess.Popen(
        (
            # Not killed with the keeper: the lab's first process then still has to clean up.
            *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net"),
            *(sys.executable, "-m", "tests.cluster.lab_init"),
            *(str(record.folder), str(lifeline), str(report), str(machine)),
        ),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=(lifeline, report, machine, *(held.fileno() for held in claims)),
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
            while not _over(watch, order, owner, lines.fileno()):
                pass
    finally:
        # unshare itself ends when the lab's first process and all under it are gone.
        os.kill(lab_pid, signal.SIGKILL)
        lab.wait(30)
        os.close(hold)


def _over(watch: selectors.BaseSelector, order: LabRequest, owner: int, status: int) -> bool:
    """Handle one event; whether it was one that ends the lab."""
    for key, _ in watch.select():
        if key.fd != status:
            return True
        text = os.read(status, 65536).decode(errors="replace")
        if not text:
            return True
        for line in text.splitlines():
            _say(line)
            if line.startswith("failed "):
                return True
            if line == "ready":
                if order.outlives_owner:
                    watch.unregister(owner)
                _let_go_of_client()
    return False


def _claim_any_index() -> tuple[int, socket.socket] | None:
    for index in range(MAX_LABS):
        held = claim_index(index)
        if held is not None:
            return index, held
    return None


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _let_go_of_client()


def _let_go_of_client() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
