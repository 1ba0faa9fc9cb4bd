"""Before devpi starts: a private run folder with its secrets, and a server folder made or mended.

Runs as the pod's init container (`python3 -m mirror.store.prepare …`) and in `mirror up --local`.
Standard library only, beside mirror.core.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from mirror.core import process
from mirror.core.errors import MirrorError, RefusedError, UnfitError
from mirror.core.wait import Deadline
from mirror.devpi import DevpiPaths, build_init_argv
from mirror.store.backup import back_up, record_version
from mirror.store.database import repair_database
from mirror.store.ownership import ensure_writable

_INIT_SECONDS = 120.0


def prepare_server(
    *,
    serverdir: Path,
    run_dir: Path,
    secrets: Path,
    program: str = "devpi-init",
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """Make ready; True where a new server was made, False where one was checked and mended.

    ``secrets`` holds the files ``root-password`` and ``secretfile`` (a Secret volume, or a folder
    of the user's). devpi refuses a group-readable secretfile and a group-writable folder, which
    is what a Secret volume with fsGroup is: hence the copy. Raises UnfitError with the owner and
    mode when the volume cannot be written.
    """
    _private_folder(run_dir)
    layout = DevpiPaths(serverdir=serverdir, run_dir=run_dir)
    _private_file(Path(layout.secretfile), _read_secret(secrets / "secretfile"))
    _check_writable(serverdir.parent, report)
    ensure_writable(serverdir.parent, report)
    if (serverdir / ".serverversion").exists():
        report(f"{serverdir} holds a server already")
        repair_database(serverdir, report)
        back_up(serverdir, report)
        return False
    if serverdir.exists() and any(serverdir.iterdir()):
        raise RefusedError(
            f"{serverdir} has files but is no server",
            why="it has no .serverversion; it may hold somebody's packages",
            next_step="move the folder away, or restore what is missing, and start again",
        )
    # made beside its place and renamed: a kill in between leaves nothing half made
    unfinished = serverdir.with_name(serverdir.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _private_folder(unfinished)
    layout = DevpiPaths(serverdir=unfinished, run_dir=run_dir)
    config = Path(layout.init_config)
    password = _read_secret(secrets / "root-password").decode()
    # JSON strings are YAML strings, whatever is in them
    words = f"devpi-server:\n  root-passwd: {json.dumps(password)}\n"
    _private_file(config, words.encode())
    try:
        process.run(build_init_argv(program, layout), deadline=Deadline.after(_INIT_SECONDS))
    finally:
        config.unlink()
    unfinished.rename(serverdir)
    record_version(serverdir)
    report(f"made a new server in {serverdir}")
    return True


def _check_writable(folder: Path, told: Callable[[str], None]) -> None:
    trial = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as broken:
        if broken.errno in {errno.ENOSPC, errno.EDQUOT}:
            told(f"the volume is full: {folder}; what it holds is served")
            return
        why = str(broken)
        if folder.exists():
            about = folder.stat()
            mode = f"{about.st_mode & 0o7777:04o}"
            why += f"; it is owned by {about.st_uid}:{about.st_gid}, mode {mode}, "
            why += f"and the mirror runs as {os.getuid()}:{os.getgid()}"
        raise UnfitError(
            f"the volume is not writable: {folder}",
            why=why,
            next_step="give the volume's folder to that user (chown) on its node, "
            "or choose a storage class that honours fsGroup",
        ) from broken


def _read_secret(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as broken:
        raise UnfitError(f"a secret cannot be read: {path}", why=str(broken)) from broken


def _private_folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def _private_file(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


def main() -> int:
    """The init container's program; its last lines are what a failed `mirror up` shows."""
    parser = argparse.ArgumentParser(prog="mirror.store.prepare", description=__doc__)
    for name in ("serverdir", "run", "secrets"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    words = parser.parse_args()
    try:
        prepare_server(
            serverdir=words.serverdir, run_dir=words.run, secrets=words.secrets, report=print
        )
    except MirrorError as error:
        print(
            f"error: {error.what}\n  why: {error.why}\n  next: {error.next_step}", file=sys.stderr
        )
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
