"""A private Docker engine for tests, with its own data and socket. It leaves nothing behind."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cleanup import ENGINE_PREFIX, clean_engine, engine_socket_folder
from tests.cluster.debian import install_debian_packages
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

LAB_REGISTRIES = "10.99.0.0/16"
"""The node networks of all labs. Their registries use plain HTTP."""

START_SECONDS = 60
STOP_SECONDS = 20
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerEngine:
    """A running engine. It dies with the process pid."""

    host: str
    log: Path
    pid: int

    def environment(self) -> dict[str, str]:
        """Return the process environment that makes the docker command and SDK use this engine."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def docker(self, *argv: str, timeout: float = 120, stdin: str | None = None) -> str:
        """Run a docker command and return its output. Raises CommandError."""
        env = self.environment()
        return run("docker", *argv, timeout=timeout, stdin=stdin, env=env).stdout

    def load(self, archive: Path) -> None:
        """Load an archive in the format of `docker save`, such as images.ensure_base_image()."""
        self.docker("load", "--input", str(archive))


@contextmanager
def docker_engine(folder: Path, *, keep: bool = False) -> Iterator[DockerEngine]:
    """Run an engine with its data in folder/docker until the block ends.

    The data is removed at the end unless keep is set; then the next engine there reuses it. Several
    engines may run at once. They have no bridge network: a build step has the machine's network or
    none. The engine dies with this thread's process. Raises ConditionTimeout if it does not start,
    and WaitAborted with the end of its log if it exits.
    """
    install_debian_packages(("docker.io",))
    data = folder.resolve() / "docker"
    data.mkdir(parents=True, exist_ok=True)
    name = f"{ENGINE_PREFIX}{os.getpid()}-{next(_numbers)}"
    socket_folder = engine_socket_folder(name)
    socket_folder.mkdir(mode=0o700)
    log = data / "log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            (
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
                *(sys.executable, "-m", "tests.cluster.engine_init"),
                *(f"{data}/data", f"{socket_folder}/docker.sock", name, LAB_REGISTRIES),
            ),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    engine = DockerEngine(host=f"unix://{socket_folder}/docker.sock", log=log, pid=child.pid)

    def answers() -> bool:
        if child.poll() is not None:
            raise WaitAborted(f"dockerd exited:\n{log.read_text()[-2000:]}")
        return bool(engine.docker("version", timeout=10))

    try:
        wait_for("the Docker engine", answers, timeout=START_SECONDS, interval=0.2)
        yield engine
    finally:
        _stop(child)
        if not keep:
            shutil.rmtree(data, ignore_errors=True)
        clean_engine(name)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the engine's first process, which forwards it; SIGKILL after STOP_SECONDS."""
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    for pid in children.read_text().split() if child.poll() is None else ():
        os.kill(int(pid), signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(STOP_SECONDS)
