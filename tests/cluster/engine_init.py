"""PID 1 of a test engine: starts dockerd among private mounts and reaps orphans.

python -m tests.cluster.engine_init DATA SOCKET CGROUP INSECURE-REGISTRIES
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.process import run

SOCKET_FOLDER = "/mnt"
"""A private memory file system here holds the engine's inner sockets: under a test's own folder
their paths would be longer than the 107 characters that a socket's may have."""

HIDDEN_FOLDERS = ("/run/containerd", "/run/docker")
"""A containerd of the machine must not be taken for the engine's own."""


def main() -> None:
    data, socket, cgroup, registries = sys.argv[1:5]
    run("mount", "-t", "tmpfs", "tmpfs", SOCKET_FOLDER)
    for path in HIDDEN_FOLDERS:
        if Path(path).exists():
            run("mount", "-t", "tmpfs", "tmpfs", path)
    daemon = subprocess.Popen(
        (
            "dockerd",
            *("--data-root", data, "--exec-root", f"{SOCKET_FOLDER}/exec"),
            *("--host", f"unix://{socket}", "--pidfile", f"{SOCKET_FOLDER}/pid"),
            # With rules of its own it sets FORWARD to DROP for the whole machine, for good.
            *("--iptables=false", "--ip6tables=false", "--bridge=none"),
            *("--cgroup-parent", f"/{cgroup}", "--insecure-registry", registries),
        ),
        stdin=subprocess.DEVNULL,
    )
    signal.signal(signal.SIGTERM, lambda *_: daemon.terminate())
    while os.waitpid(-1, 0)[0] != daemon.pid:
        pass


if __name__ == "__main__":
    main()
