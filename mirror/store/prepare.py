"""Prepare devpi's folders before it starts: secrets, a new or a repaired server folder.

Runs as the pod's init container (`python3 -m mirror.store.prepare …`) and in `mirror up --local`.
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
from mirror.core.errors import MirrorError, RefusedError, UnfitError, format_error
from mirror.core.wait import Deadline
from mirror.devpi import DevpiPaths, build_init_argv
from mirror.store.backup import back_up, record_version
from mirror.store.database import repair_database
from mirror.store.ownership import ensure_writable

_INIT_TIMEOUT = 120.0  # seconds


def prepare_server(
    *,
    serverdir: Path,
    run_dir: Path,
    secrets: Path,
    program: str = "devpi-init",
    report: Callable[[str], None] = lambda _: None,
) -> bool:
    """Create the server folder, or check and repair it; returns whether it was created.

    ``secrets`` holds the files ``root-password`` and ``secretfile`` (a Secret volume, or a folder
    of the user). The secretfile is copied to ``run_dir``: devpi refuses one that the group can
    read or whose folder the group can write, as in a Secret volume with fsGroup. Raises UnfitError
    if the volume is not writable, RefusedError if the folder holds something else.
    """
    create_private_folder(run_dir)
    paths = DevpiPaths(serverdir=serverdir, run_dir=run_dir)
    write_private_file(Path(paths.secretfile), _read_secret(secrets / "secretfile"))
    _check_writable(serverdir.parent, report)
    ensure_writable(serverdir.parent, report)
    if (serverdir / ".serverversion").exists():
        report(f"{serverdir} already holds a server")
        repair_database(serverdir, report)
        back_up(serverdir, report)
        return False
    if serverdir.exists() and any(serverdir.iterdir()):
        raise RefusedError(
            f"{serverdir} has files but is not a server folder",
            why="it has no .serverversion; it may hold somebody's packages",
            next_step="move the folder away, or restore what is missing, and start again",
        )
    # created under another name and renamed: a kill in between leaves no incomplete folder
    unfinished = serverdir.with_name(serverdir.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    create_private_folder(unfinished)
    paths = DevpiPaths(serverdir=unfinished, run_dir=run_dir)
    config = Path(paths.init_config)
    password = _read_secret(secrets / "root-password").decode()
    # every JSON string is a YAML string
    text = f"devpi-server:\n  root-passwd: {json.dumps(password)}\n"
    write_private_file(config, text.encode())
    try:
        process.run(build_init_argv(program, paths), deadline=Deadline.after(_INIT_TIMEOUT))
    finally:
        config.unlink()
    unfinished.rename(serverdir)
    record_version(serverdir)
    report(f"created a new server in {serverdir}")
    return True


def _check_writable(folder: Path, report: Callable[[str], None]) -> None:
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            report(f"the volume is full: {folder}; its packages are served, new ones are refused")
            return
        why = str(error)
        if folder.exists():
            current = folder.stat()
            why += (
                f"; it is owned by {current.st_uid}:{current.st_gid}, "
                f"mode {current.st_mode & 0o7777:04o}, "
                f"and the mirror runs as {os.getuid()}:{os.getgid()}"
            )
        raise UnfitError(
            f"the volume is not writable: {folder}",
            why=why,
            next_step="give the volume's folder to that user (chown) on its node, "
            "or choose a storage class that honors fsGroup",
        ) from error


def _read_secret(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise UnfitError(f"a secret cannot be read: {path}", why=str(error)) from error


def create_private_folder(path: Path) -> None:
    """Create a folder that only its owner can enter, or make an existing one so."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write_private_file(path: Path, content: bytes) -> None:
    """Replace a file with one that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


def main() -> int:
    """Run as the init container; `mirror up` shows its last lines when it fails."""
    parser = argparse.ArgumentParser(prog="mirror.store.prepare", description=__doc__)
    for name in ("serverdir", "run", "secrets"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    try:
        prepare_server(
            serverdir=options.serverdir, run_dir=options.run, secrets=options.secrets, report=print
        )
    except MirrorError as error:
        print(format_error(error), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
