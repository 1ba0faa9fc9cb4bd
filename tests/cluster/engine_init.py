"""PID 1 of a test's Docker engine: starts dockerd with private mounts and reaps orphans.

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
"""A private tmpfs for the engine's internal sockets. A socket path is limited to 107 characters,
and a test's folder has a long path."""

HIDDEN_FOLDERS = ("/run/containerd", "/run/docker")
"""Hidden so that dockerd does not use the machine's containerd."""


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
            # Otherwise dockerd sets the machine's FORWARD policy to DROP, permanently.
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
