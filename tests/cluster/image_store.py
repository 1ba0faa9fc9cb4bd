"""A containerd data folder with all images, filled once and cloned for every node.

Importing the archives takes a node ten seconds; hard links take none. Nodes may share blobs and
committed snapshots because containerd never changes them in place. Only the databases are copied.
As a program, this module starts the containerd that fills the folder:
python -m tests.cluster.image_store FOLDER ARCHIVE...
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.process import CommandError, run
from tests.cluster.progress import Progress, ignore_progress
from tests.cluster.waiting import wait_for

SOCKET_FOLDER = Path("/mnt")
"""A private tmpfs for containerd's sockets: a socket path is limited to 107 characters."""

STOP_SECONDS = 30.0


def ensure_image_store(archives: Sequence[Path], progress: Progress = ignore_progress) -> Path:
    """Return the folder to clone, which has the images of the archives, imported and unpacked."""

    def make(target: Path) -> None:
        progress("importing the images (once; cached)")
        target.mkdir()
        namespaces = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
        init = (sys.executable, "-m", "tests.cluster.image_store", str(target))
        run(*namespaces, *init, *map(str, archives), cwd=REPOSITORY, timeout=300)

    version = run("containerd", "--version", timeout=10).stdout
    return ensure_cached(f"stores/{digest(version, *(path.name for path in archives))}", make)


def clone_store(store: Path, target: Path) -> None:
    """Clone a store to target. Does nothing if target exists."""
    if target.exists():
        return
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        run("cp", "--archive", "--link", str(store), str(partial), timeout=300)
    except CommandError:
        # The cache and the lab's folder are on different file systems.
        shutil.rmtree(partial, ignore_errors=True)
        run("cp", "--archive", str(store), str(partial), timeout=300)
    for database in partial.glob("*/*.db"):
        copy = database.with_suffix(".copy")
        shutil.copy2(database, copy)
        copy.rename(database)
    partial.rename(target)


def _fill(folder: str, archives: Sequence[str]) -> None:
    run("mount", "-t", "tmpfs", "tmpfs", str(SOCKET_FOLDER))
    socket, config = str(SOCKET_FOLDER / "containerd.sock"), SOCKET_FOLDER / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{folder}"\nstate = "{SOCKET_FOLDER}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{socket}"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\n  path = "{SOCKET_FOLDER}/opt"\n'
    )
    log = SOCKET_FOLDER / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ("containerd", "--config", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    ctr = ("ctr", "--address", socket, "--namespace", "k8s.io")
    wait_for("containerd", lambda: run(*ctr, "version", timeout=10), timeout=30)
    for archive in archives:
        run(*ctr, "images", "import", archive, timeout=180)
    daemon.terminate()
    daemon.wait(STOP_SECONDS)
    os.sync()


if __name__ == "__main__":
    _fill(sys.argv[1], sys.argv[2:])
