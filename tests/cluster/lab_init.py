"""PID 1 of a lab: when it exits, for any reason, the kernel kills everything in the lab.

python -m tests.cluster.lab_init LAB-FOLDER LIFELINE STATUS MACHINE-NETWORK
The last three are file descriptors: a pipe that closes when the supervisor dies, a pipe for
progress messages, and the machine's network namespace.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tests.cluster.cleanup import clean_lab
from tests.cluster.lab_server import LabServer
from tests.cluster.namespaces import enter_network
from tests.cluster.network import NETNS_FOLDER
from tests.cluster.process import run
from tests.cluster.record import LabRecord
from tests.cluster.waiting import WaitAborted

LONGEST_REQUEST = 65536


def main() -> None:
    folder = Path(sys.argv[1])
    lifeline, status, machine_network = (int(text) for text in sys.argv[2:5])
    record = LabRecord.load(folder)
    if record is None:
        raise SystemExit(f"no lab in {folder}")

    def report(text: str) -> None:
        # Without a supervisor nobody reads this; _outlive_supervisor handles that case.
        with suppress(BrokenPipeError):
            os.write(status, f"{text}\n".encode())

    # /proc is still the machine's, so this is the PID that the supervisor uses.
    report(f"pid {Path('/proc/self').readlink()}")
    arguments = (record, lifeline, machine_network)
    if not os.read(lifeline, 1):
        _outlive_supervisor(*arguments)
    threading.Thread(target=_outlive_supervisor, args=arguments, daemon=True).start()
    NETNS_FOLDER.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(NETNS_FOLDER))
    with _listen(record.site.socket) as listener:
        lab = LabServer(record, machine_network, report)
        try:
            lab.start()
        except (OSError, RuntimeError, ValueError, WaitAborted) as error:
            report("failed " + str(error).replace("\n", "\\n"))
            # The supervisor now kills this process, or it has died and the other thread cleans up.
            threading.Event().wait()
        report("ready")
        _serve(listener, lab)


def _serve(listener: socket.socket, lab: LabServer) -> None:
    """Handle one request per connection, one at a time: a JSON line in, a JSON line out."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            try:
                reply = lab.handle_request(json.loads(stream.readline(LONGEST_REQUEST)))
                stream.write(json.dumps(reply).encode() + b"\n")
                stream.flush()
            except (OSError, ValueError):
                continue


def _outlive_supervisor(record: LabRecord, lifeline: int, machine_network: int) -> None:
    """Wait for the supervisor to die, then kill everything and clean up in its place."""
    while os.read(lifeline, 1):
        pass
    os.kill(-1, signal.SIGKILL)
    try:
        enter_network(machine_network)
        clean_lab(record.site.id, record.folder)
    finally:
        os._exit(1)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A socket path is limited to 107 characters, so the path goes through a file descriptor.
    folder = os.open(path.parent, os.O_PATH)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    listener.listen()
    return listener


if __name__ == "__main__":
    main()
