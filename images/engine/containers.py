"""Containers that run beside the work: started, asked, and removed however their block ends."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from images.engine import ENGINE_FAILURES, ContainerResult, EngineClient
from images.engine.leftovers import OWNER_LABEL, current_owner


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What a container is started with. ``files``: absolute path → content, put in before."""

    image: str
    argv: tuple[str, ...]
    network_mode: str = "none"
    pid_mode: str | None = None  # container:ID to share its processes
    user: str | None = None
    workdir: str | None = None
    capabilities: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    volume: tuple[str, str] | None = None  # name of a volume, where it is mounted
    loopback_dns: bool = False  # names are asked of loopback, without a search list


class EngineContainer:
    """A container that was started."""

    def __init__(self, engine: EngineClient, name: str) -> None:
        self._engine = engine
        self.id = name

    @property
    def shared_namespace(self) -> str:
        """The network (or pid) mode that shares this container's."""
        return f"container:{self.id}"

    def read_log(self, *, stderr: bool = True) -> str:
        """What it printed until now; with ``errors`` both streams."""
        with self._engine.api_call("read a container's log"):
            raw: bytes = self._engine.api.logs(self.id, stdout=True, stderr=stderr)
        return raw.decode(errors="replace")

    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        with self._engine.api_call("look at a container"):
            told: Any = self._engine.api.inspect_container(self.id)
        state = told["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def run(self, argv: Sequence[str], *, user: str | None = None) -> ContainerResult:
        """Run a program in it to its end."""
        with self._engine.api_call(f"run {argv[0]} in a container"):
            api = self._engine.api
            made: Any = api.exec_create(self.id, list(argv), user=user or "")
            out: bytes = api.exec_start(made["Id"])
            code = api.exec_inspect(made["Id"])["ExitCode"]
        return ContainerResult(exit_code=int(code), output=out.decode(errors="replace"))


@contextmanager
def run_container(engine: EngineClient, plan: ContainerSpec) -> Iterator[EngineContainer]:
    """A running container for the length of a block. No capability but those of the plan."""
    api = engine.api
    name = f"pypi-mirror-{secrets.token_hex(6)}"  # known before: an interrupted create is removed
    try:
        with engine.api_call(f"start {plan.argv[0]} in {plan.image}"):
            words: dict[str, Any] = {}
            if plan.loopback_dns:
                words = {"dns": ["127.0.0.1"], "dns_search": ["."]}
            if plan.volume:
                words["binds"] = {plan.volume[0]: {"bind": plan.volume[1], "mode": "rw"}}
            host = api.create_host_config(
                network_mode=plan.network_mode,
                pid_mode=plan.pid_mode,
                cap_drop=["ALL"],
                cap_add=list(plan.capabilities),
                security_opt=["no-new-privileges"],
                **words,
            )
            api.create_container(
                plan.image,
                list(plan.argv),
                name=name,
                user=plan.user,
                entrypoint=[],
                environment=dict(plan.environment),
                working_dir=plan.workdir,
                labels={OWNER_LABEL: current_owner()},
                host_config=host,
            )
            if plan.files:
                api.put_archive(name, "/", _tar(plan.files))
            api.start(name)
        yield EngineContainer(engine, name)
    finally:
        # past the command's deadline too: what was started is taken away
        with suppress(*ENGINE_FAILURES):
            api.timeout = 30
            api.remove_container(name, force=True, v=True)


@contextmanager
def create_volume(engine: EngineClient) -> Iterator[str]:
    """The name of an empty volume, removed at the end."""
    name = f"pypi-mirror-{secrets.token_hex(6)}"
    try:
        with engine.api_call("make a volume"):
            engine.api.create_volume(name, labels={OWNER_LABEL: current_owner()})
        yield name
    finally:
        with suppress(*ENGINE_FAILURES):
            engine.api.timeout = 30
            engine.api.remove_volume(name, force=True)


def _tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
