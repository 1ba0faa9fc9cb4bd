"""A private Docker engine for tests: own data, own socket, nothing left when its block ends."""

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

from tests.cluster.cleanup import ENGINE_PREFIX, clean_engine, engine_socket_folder
from tests.cluster.debian import install_debian_packages
from tests.cluster.nodes import REPOSITORY
from tests.cluster.process import run
from tests.cluster.waiting import WaitAborted, wait_for

LAB_REGISTRIES = "10.99.0.0/16"
"""The node networks of all labs: their registries speak plain HTTP."""

START_SECONDS = 60
STOP_SECONDS = 20
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerEngine:
    """A running engine."""

    host: str
    log: Path
    pid: int  # of the process with which all of the engine ends

    def environment(self) -> dict[str, str]:
        """The process environment that leads the docker command and the SDK to this engine."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def docker(self, *argv: str, timeout: float = 120, stdin: str | None = None) -> str:
        """What the docker command printed. Raises CommandFailed."""
        env = self.environment()
        return run("docker", *argv, timeout=timeout, stdin=stdin, env=env).stdout

    def load(self, archive: Path) -> None:
        """Load an archive as `docker save` writes it, for instance images.ensure_base_image()."""
        self.docker("load", "--input", str(archive))


@contextmanager
def docker_engine(folder: Path, *, keep: bool = False) -> Iterator[DockerEngine]:
    """An engine with all its data under folder/docker, which is removed at the end unless ``keep``:
    the next engine there goes on with it.

    Several may run at once. It has no bridge: a build step has the machine's network or none. It
    ends with this thread's process, too, however that ends. Raises NotInTime when it does not
    start and Hopeless with the end of its log when it ends at once.
    """
    install_debian_packages(("docker.io",))
    own = folder.resolve() / "docker"
    own.mkdir(parents=True, exist_ok=True)
    name = f"{ENGINE_PREFIX}{os.getpid()}-{next(_numbers)}"
    door = engine_socket_folder(name)
    door.mkdir(mode=0o700)
    log = own / "log"
    with log.open("ab") as output:
        child = subprocess.Popen(
            (
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
                *(sys.executable, "-m", "tests.cluster.engine_init"),
                *(f"{own}/data", f"{door}/docker.sock", name, LAB_REGISTRIES),
            ),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    engine = DockerEngine(host=f"unix://{door}/docker.sock", log=log, pid=child.pid)

    def answers() -> bool:
        if child.poll() is not None:
            raise WaitAborted(f"dockerd ended:\n{log.read_text()[-2000:]}")
        return bool(engine.docker("version", timeout=10))

    try:
        wait_for("the Docker engine", answers, timeout=START_SECONDS, interval=0.2)
        yield engine
    finally:
        _stop(child)
        if not keep:
            shutil.rmtree(own, ignore_errors=True)
        clean_engine(name)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the engine's first process, which passes it on; SIGKILL when that takes long."""
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    for pid in children.read_text().split() if child.poll() is None else ():
        os.kill(int(pid), signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(STOP_SECONDS)
