"""What is expensive to make is made once, outside the repository, and published by a rename."""

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
    """The folder of everything cached; MIRROR_TEST_CACHE overrides the platform's place."""
    given = os.environ.get("MIRROR_TEST_CACHE")
    root = Path(given) if given else platformdirs.user_cache_path("pypi-mirror-tests")
    root.mkdir(parents=True, exist_ok=True)
    return root.resolve()


def digest(*parts: str | bytes) -> str:
    """A short key of the parts, each taken with its length so that they cannot run together."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()[:12]


@contextmanager
def hold_lock(name: str) -> Iterator[None]:
    """Hold the machine-wide lock of one cached thing; the kernel frees it with the process."""
    folder = cache_root() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure_cached(name: str, make: Callable[[Path], None]) -> Path:
    """The cached file of this name; make writes it to the path it gets when it is not there.

    Two processes never make the same file at once, and a half-written one is never seen.
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
            half = scratch / target.name
            make(half)
            half.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
