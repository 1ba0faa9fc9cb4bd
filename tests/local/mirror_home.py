"""A user's folders of their own with a mirror in them, and wheels to put into it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.local.processes import find_free_port
from tests.conftest import RunProgram


class MirrorHome:
    """A user's folders of their own, and a port."""

    def __init__(self, root: Path, program: RunProgram) -> None:
        self.root = root
        self.env = {
            "XDG_DATA_HOME": str(root / "data"),
            "XDG_STATE_HOME": str(root / "state"),
            "XDG_CONFIG_HOME": str(root / "config"),
        }
        self.port = find_free_port()
        self._program = program

    def run_mirror(
        self, *words: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self._program("mirror", *words, "--local", env=self.env | (env or {}), timeout=120)

    def up(self, *words: str, env: dict[str, str] | None = None) -> dict[str, object]:
        done = self.run_mirror("up", "--port", str(self.port), "-o", "json", *words, env=env)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told

    @property
    def processes(self) -> dict[str, dict[str, float]]:
        path = self.root / "state/pypi-mirror/processes.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def list_pids(self) -> list[int]:
        return [int(one["pid"]) for one in self.processes.values()]


@contextmanager
def purge_on_exit(place: MirrorHome) -> Iterator[None]:
    """`mirror down --purge` at the end of the block, or of this process, however that ends."""
    then = "cat > /dev/null; exec mirror down --local --purge"  # the end of its standard input
    with subprocess.Popen(
        ("sh", "-c", then),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **place.env},
        start_new_session=True,
    ):
        yield
