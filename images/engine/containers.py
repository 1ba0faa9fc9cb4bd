"""Containers and volumes that exist for the length of a block."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from images.archive import pack_files
from images.engine import ENGINE_FAILURES, EngineClient
from images.engine.leftovers import OWNER_LABEL, current_owner
from mirror.core.errors import EngineError
from mirror.core.wait import Deadline, wait_until

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_ARCHIVE_SECONDS = 600.0  # limit between two pieces of an archive
_CHUNK_BYTES = 1 << 20
Change = Literal["modified", "added", "removed"]
_CHANGES: tuple[Change, ...] = ("modified", "added", "removed")  # as the engine numbers them


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """How to start a container.

    ``files`` (absolute path → content) and what is in ``archives`` (tars) are written before the
    start, the archives first; ``volume`` is the name of a volume and its mount point. With
    ``loopback_dns`` the resolver asks 127.0.0.1 and has no search list. With ``read_only`` only
    /tmp is writable.
    """

    image: str
    argv: tuple[str, ...]
    network_mode: str = "none"
    pid_mode: str | None = None
    user: str | None = None
    workdir: str | None = None
    capabilities: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    archives: tuple[Path, ...] = ()
    volume: tuple[str, str] | None = None
    loopback_dns: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerResult:
    """A program that ended in a container; ``output`` combines stdout and stderr."""

    exit_code: int
    stdout: str
    output: str


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """A container that was started."""

    engine: EngineClient
    id: str

    def read_log(self, *, stderr: bool = True) -> str:
        """Return what the container has printed so far: stdout, and stderr if wanted."""
        with self.engine.api_call("read a container's log"):
            log: bytes = self.engine.api.logs(self.id, stdout=True, stderr=stderr)
        return log.decode(errors="replace")

    def exit_code(self) -> int | None:
        """Return None while the container runs."""
        with self.engine.api_call("inspect a container"):
            details: Any = self.engine.api.inspect_container(self.id)
        state = details["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def wait(self, what: str, deadline: Deadline) -> int:
        """Wait for the end of its program; return the exit code. ``what`` is for the error."""
        return wait_until(
            self.exit_code, deadline=deadline, what=what, interval=0.05, max_interval=0.15
        )

    @contextmanager
    def read_archive(self, path: str) -> Iterator[IO[bytes]]:
        """Return a tar of a path, also once its program has ended."""
        with self.engine.api_call(f"read {path} in a container", _ARCHIVE_SECONDS):
            chunks, _ = self.engine.api.get_archive(self.id, path, chunk_size=_CHUNK_BYTES)
            with closing(cast("Any", chunks)):
                try:
                    yield io.BufferedReader(_ChunkStream(iter(chunks)), _CHUNK_BYTES)
                except tarfile.TarError as error:
                    raise EngineError(
                        f"the Docker engine did not send all of {path} in a container",
                        why=str(error),
                        next_step="run the same command again",
                    ) from error

    def list_changes(self) -> dict[str, Change]:
        """Return the paths that differ from the image, and how."""
        with self.engine.api_call("list what a container has changed"):
            changes: Any = self.engine.api.diff(self.id)
        return {change["Path"]: _CHANGES[change["Kind"]] for change in changes or ()}

    def run(self, argv: Sequence[str]) -> int:
        """Run a program in the container, wait for its end and return its exit code."""
        return self._execute(argv)[0]

    def read_output(self, argv: Sequence[str]) -> str:
        """Run a program in the container, wait for its end and return its stdout."""
        return self._execute(argv)[1]

    def _execute(self, argv: Sequence[str]) -> tuple[int, str]:
        with self.engine.api_call(f"run {argv[0]} in a container"):
            api = self.engine.api
            process: Any = api.exec_create(self.id, list(argv), stderr=False)
            output: bytes = api.exec_start(process["Id"])
            return int(api.exec_inspect(process["Id"])["ExitCode"]), output.decode(errors="replace")


class _ChunkStream(io.RawIOBase):
    """A file of the chunks that a response consists of."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = next(self._chunks, b"")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@contextmanager
def run_container(engine: EngineClient, spec: ContainerSpec) -> Iterator[EngineContainer]:
    """Run a container for the length of a block, with no capabilities but those of the spec."""
    api = engine.api
    # the name is known before the call, so that an interrupted call leaves nothing behind
    name = f"pypi-mirror-{secrets.token_hex(6)}"
    try:
        with engine.api_call(f"start {spec.argv[0]} in {spec.image}"):
            options: dict[str, Any] = {}
            if spec.loopback_dns:
                options = {"dns": ["127.0.0.1"], "dns_search": ["."]}
            if spec.read_only:
                options |= {"read_only": True, "tmpfs": {"/tmp": ""}}
            if spec.volume:
                options["binds"] = {spec.volume[0]: {"bind": spec.volume[1], "mode": "rw"}}
            host = api.create_host_config(
                network_mode=spec.network_mode,
                pid_mode=spec.pid_mode,
                cap_drop=["ALL"],
                cap_add=list(spec.capabilities),
                security_opt=["no-new-privileges"],
                **options,
            )
            api.create_container(
                spec.image,
                list(spec.argv),
                name=name,
                user=spec.user,
                entrypoint=[],
                environment=dict(spec.environment),
                working_dir=spec.workdir,
                labels={OWNER_LABEL: current_owner()},
                host_config=host,
            )
            for archive in spec.archives:
                with archive.open("rb") as content:
                    api.put_archive(name, "/", content)
            if spec.files:
                api.put_archive(name, "/", pack_files(spec.files))
            api.start(name)
        yield EngineContainer(engine, name)
    finally:
        with suppress(*ENGINE_FAILURES):
            api.timeout = 30  # even after the deadline
            api.remove_container(name, force=True, v=True)


def run_to_end(
    engine: EngineClient, spec: ContainerSpec, name: str, *, seconds: float = 300
) -> ContainerResult:
    """Run a container until its program ends, at most for ``seconds``; ``name`` is for errors."""
    with run_container(engine, spec) as container:
        exit_code = container.wait(name, engine.deadline.within(seconds))
        stdout, output = container.read_log(stderr=False), container.read_log()
        return ContainerResult(exit_code=exit_code, stdout=stdout, output=output)


@contextmanager
def create_volume(engine: EngineClient) -> Iterator[str]:
    """Create an empty volume, yield its name, remove it at the end of the block."""
    name = f"pypi-mirror-{secrets.token_hex(6)}"
    try:
        with engine.api_call("create a volume"):
            engine.api.create_volume(name, labels={OWNER_LABEL: current_owner()})
        yield name
    finally:
        with suppress(*ENGINE_FAILURES):
            engine.api.timeout = 30
            engine.api.remove_volume(name, force=True)
