"""Run `mirror … --local` in a user's directories of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mirror.local.processes import find_free_port
from tests.conftest import RunProgram


class MirrorHome:
    """The data, state and configuration directories of a user, and a port for the mirror."""

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
        self, *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `mirror … --local`."""
        return self._program(
            "mirror", *arguments, "--local", env=self.env | (env or {}), timeout=120
        )

    def run_json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run `mirror … -o json`; return its exit code and its output."""
        result = self.run_mirror(*arguments, "-o", "json")
        assert result.stdout, result.stderr
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        return result.returncode, document

    def up(self, *options: str, env: dict[str, str] | None = None) -> dict[str, object]:
        """Run `mirror up` and return its JSON output."""
        result = self.run_mirror("up", "--port", str(self.port), "-o", "json", *options, env=env)
        assert result.returncode == 0, result.stderr
        status = json.loads(result.stdout)
        assert isinstance(status, dict)
        return status

    @property
    def processes_path(self) -> Path:
        return self.root / "state/pypi-mirror/processes.json"

    @property
    def processes(self) -> dict[str, dict[str, float]]:
        """The processes that the mirror has recorded: pid and start time by name."""
        path = self.processes_path
        return json.loads(path.read_text()) if path.exists() else {}

    def list_pids(self) -> list[int]:
        return [int(process["pid"]) for process in self.processes.values()]


@contextmanager
def purge_on_exit(home: MirrorHome) -> Iterator[None]:
    """Run `mirror down --purge` at the end of the block or of this process, even if killed."""
    # the shell goes on when its standard input is closed, by us or by the kernel
    script = "cat > /dev/null; exec mirror down --local --purge --yes"
    with subprocess.Popen(
        ("sh", "-c", script),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **home.env},
        start_new_session=True,
    ):
        yield
