"""A user's folders of their own with a mirror in them, and wheels to put into it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

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
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
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


def make_wheel(folder: Path, name: str, version: str, code: str) -> Path:
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    with ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}.py", code)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path
