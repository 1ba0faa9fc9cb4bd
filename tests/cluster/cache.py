"""A file cache outside the repository for things that are expensive to build."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """Return the cache folder: $MIRROR_TEST_CACHE, or the user's cache folder of this platform."""
    override = os.environ.get("MIRROR_TEST_CACHE")
    root = Path(override) if override else platformdirs.user_cache_path("pypi-mirror-tests")
    root.mkdir(parents=True, exist_ok=True)
    return root.resolve()


def digest(*parts: str | bytes) -> str:
    """Return 12 hex digits that identify the parts.

    The length of each part is hashed too, so ("ab", "c") and ("a", "bc") differ.
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()[:12]


@contextmanager
def hold_lock(name: str) -> Iterator[None]:
    """Hold a machine-wide lock; the kernel releases it if the process dies."""
    folder = cache_root() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the cached file or folder called name, built with make(path) if it does not exist.

    A lock keeps two processes from building the same file, and a rename publishes it, so nobody
    sees a half-written one.
    """
    target = cache_root() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(name.replace("/", "_")):
        if target.exists():
            return target
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
        try:
            partial = scratch / target.name
            make(partial)
            partial.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
