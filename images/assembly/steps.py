"""Run the steps of an assembly: each is a container in the sandbox, whose files are read after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

from images.build_progress import BuildProgress, describe_attempts
from images.engine import EngineClient
from images.engine.build_log import disk_full_advice
from images.engine.containers import ContainerSpec, EngineContainer, run_container
from images.sandbox import MirrorRoute, Sandbox, open_sandbox
from images.shared_build import build_log_path
from mirror.core.errors import EngineError
from mirror.core.progress import Progress

_TAIL_LINES = 15
# what an engine gives the steps of a build, without those that reach beyond the container
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")


class ForbiddenHostError(EngineError):
    """A step of the build tried to reach anything but the mirror."""


class AssemblySteps:
    """The steps of one build. The sandbox is opened for the first of them.

    ``output`` is what the last step printed; ``relayed`` and ``elsewhere`` count the connections to
    the mirror, and to anything else.
    """

    def __init__(
        self, engine: EngineClient, image: str, route: MirrorRoute, progress: Progress
    ) -> None:
        self._engine, self._image, self._route = engine, image, route
        self._progress = progress
        self._stack = ExitStack()
        self._log: IO[str] | None = None
        self._count = 0
        self._watched: BuildProgress | None = None
        self.sandbox: Sandbox | None = None
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def relayed(self) -> int:
        return self.sandbox.count_relayed() if self.sandbox else 0

    @property
    def elsewhere(self) -> int:
        return len(self.sandbox.attempts()) if self.sandbox else 0

    @contextmanager
    def run(self, text: str, spec: ContainerSpec) -> Iterator[EngineContainer]:
        """Run a container to its end, and hold it for the length of a block.

        Raises EngineError, also if it tried to reach anything but the mirror.
        """
        sandbox, watched = self._open()
        self._count += 1
        watched.count(self._count, max(self._count, 4), text)
        spec = replace(
            spec,
            network_mode=sandbox.network,
            capabilities=_CAPABILITIES if spec.user == "0" else (),
        )
        with run_container(self._engine, spec) as container:
            code = container.wait(text, self._engine.deadline)
            self.output = container.read_log()
            self._write_log(text)
            watched.record_attempts()
            if code != 0:
                tail = "\n".join(self.output.splitlines()[-_TAIL_LINES:])
                log = f"the whole log: {build_log_path()}"
                raise EngineError(
                    f"the build failed at: {text}",
                    why=tail,
                    next_step=disk_full_advice(self.output) or log,
                )
            if watched.attempts:
                _, first = watched.attempts[0]
                raise ForbiddenHostError(
                    f"a step of the build tried to reach {first.host}: {text}",
                    why=describe_attempts([attempt for _, attempt in watched.attempts]),
                    next_step="builds can only use the mirror: add it to the lock, or "
                    "--vendor NAME=WHEEL",
                )
            yield container

    def _open(self) -> tuple[Sandbox, BuildProgress]:
        if self.sandbox is None or self._watched is None:
            self.sandbox = self._stack.enter_context(
                open_sandbox(self._engine, self._image, self._route)
            )
            self._watched = BuildProgress(self._progress, self.sandbox)
            self._log = self._stack.enter_context(build_log_path().open("w"))
        return self.sandbox, self._watched

    def _write_log(self, text: str) -> None:
        if self._log:
            self._log.write(f"=== {text}\n{self.output}\n")
            self._log.flush()
