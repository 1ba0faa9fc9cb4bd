"""The only door to the Docker engine: a time limit on every call, EngineError for every failure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, cast

import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env

from images.engine.build_log import BuildLog, disk_full_advice, shorten_step
from images.engine.docker_context import read_docker_context
from images.engine.transfer import TransferProgress
from mirror.core.errors import EngineError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_CALL = 60.0  # seconds, the most an answer may take that needs no work
_LONG = 1800.0  # seconds between two words of a build, pull, push or save
ENGINE_FAILURES = (DockerException, urllib3.exceptions.HTTPError, OSError)
_NO_ENGINE = (
    "start Docker (or set DOCKER_HOST to an engine you may use), or give a ready image with --image"
)
_GONE = (
    "start it again (systemctl start docker), then run the same command: it removes what is left"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineImage:
    """An image that the engine holds. ``size`` in bytes; ``architecture`` as Docker names it."""

    id: str
    architecture: str
    size: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerResult:
    """A program that ended in a container; ``out`` has both of its streams."""

    exit_code: int
    output: str


class EngineClient:
    """A Docker engine. Its calls raise EngineError and share one deadline."""

    def __init__(self, api: APIClient, deadline: Deadline) -> None:
        self.api = api
        self._deadline = deadline
        self._said = BuildLog()  # of the last build

    @classmethod
    def connect(cls, deadline: Deadline) -> EngineClient:
        """The engine of DOCKER_HOST, else of the current docker context, else the local one."""
        words = dict[str, Any](kwargs_from_env())
        try:
            words = words if words.get("base_url") else read_docker_context()
            api = APIClient(**words, version="auto", timeout=_seconds(deadline, 10))
        except (*ENGINE_FAILURES, ValueError) as broken:
            where = words.get("base_url") or "the local engine"
            raise EngineError(
                f"no Docker engine to build with: {where} does not answer",
                why=_reason(broken),
                next_step=_NO_ENGINE,
            ) from broken
        return cls(api, deadline)

    # -- what is there --------------------------------------------------------------------------

    def find(self, reference: str) -> EngineImage | None:
        """The image of this name or id, or None where the engine has none."""
        with self.api_call(f"look for {reference}"):
            try:
                told: Any = self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except NotFound:
                return None
        return EngineImage(
            id=told["Id"],
            architecture=told["Architecture"],
            size=told["Size"],
            labels=told["Config"].get("Labels") or {},
        )

    def _held(self, reference: str) -> EngineImage:
        found = self.find(reference)
        if found is None:
            raise EngineError(
                f"the Docker engine has no image {reference}",
                why="it was never built or loaded there, or has been removed",
                next_step="build it again, or load it with `docker load`",
            )
        return found

    # -- making ---------------------------------------------------------------------------------

    def pull(self, reference: str, progress: Progress) -> EngineImage:
        """Fetch an image from its registry."""
        name, tag = _split(reference)
        progress.step(f"fetch {reference}")
        moved = TransferProgress(progress)
        with self.api_call(f"fetch {reference}", _LONG):
            for told in self.api.pull(name, tag=tag, stream=True, decode=True):
                self.check_deadline(f"fetch {reference}")
                if "error" in told:
                    raise EngineError(f"cannot fetch {reference}", why=str(told["error"]))
                moved.update(told)
        return self._held(reference)

    def build(
        self,
        context: IO[bytes],
        *,
        log: IO[str],
        progress: Progress,
        labels: Mapping[str, str],
        network_mode: str = "host",
        no_cache: bool = False,
    ) -> str:
        """Build a context (a tar with a Dockerfile) and return the image's id; it gets no name.

        Steps go to ``progress``, every line to ``log``. ``fresh``: no layer is taken from before.
        Containers of the build are removed however it ends; an interrupted client makes the
        engine stop. Raises EngineError with the failed step and the last lines.
        """
        said = self._said = BuildLog()
        made = ""
        with self.api_call("build", _LONG):
            # closing the stream closes its connection, by which the engine knows to stop
            stream = self.api.build(
                fileobj=context,
                custom_context=True,
                rm=True,
                forcerm=True,
                nocache=no_cache,
                decode=True,
                network_mode=network_mode,
                labels=dict(labels),
                timeout=self.api.timeout,
            )
            with closing(cast("Any", stream)):
                for told in stream:
                    self.check_deadline(f"build ({said.step})")
                    text = str(told.get("error") or told.get("stream") or told.get("status") or "")
                    log.write(text)
                    if now := said.append(text):
                        progress.count(*now, said.step)
                    if "error" in told:
                        log.write("\n")
                        raise EngineError(
                            f"the build failed at: {shorten_step(said.step)}",
                            why=said.tail,
                            next_step=disk_full_advice(said.tail),
                        )
                    made = told.get("aux", {}).get("ID", made)
        if not made:
            raise EngineError("the build gave no image", why=said.tail)
        return made

    def discard_last_build(self) -> None:
        """Remove what the last build made and has no name: no later build takes its layers."""
        self.api.timeout = 30  # past the deadline, too
        for image in reversed(self._said.intermediate_images):
            with suppress(*ENGINE_FAILURES):  # gone, or a layer of another one too
                told: Any = self.api.inspect_image(image)  # type: ignore[no-untyped-call]
                if not told["RepoTags"]:
                    self.api.remove_image(image, noprune=True)

    def run(
        self,
        image: str,
        argv: Sequence[str],
        *,
        network_mode: str = "none",
        read_only: bool = True,
        user: str | None = None,
    ) -> ContainerResult:
        """Run a program to its end in a container that is removed afterwards; /tmp is writable."""
        made = None
        with self.api_call(f"run {argv[0]} in {image}"):
            host = self.api.create_host_config(
                network_mode=network_mode, read_only=read_only, tmpfs={"/tmp": ""}, cap_drop=["ALL"]
            )
            try:
                made = self.api.create_container(
                    image, list(argv), user=user, entrypoint=[], host_config=host
                )["Id"]
                self.api.start(made)
                code = self.api.wait(made, timeout=self.api.timeout)["StatusCode"]
                out = self.api.logs(made).decode(errors="replace")
            finally:
                if made:
                    with suppress(*ENGINE_FAILURES):
                        self.api.remove_container(made, force=True, v=True)
        return ContainerResult(exit_code=code, output=out)

    def tag(self, image: str, reference: str) -> None:
        """Give an image a name; it moves from the image that had it."""
        name, tag = _split(reference)
        with self.api_call(f"name {image} {reference}"):
            self.api.tag(image, name, tag, force=True)

    def untag(self, reference: str) -> None:
        """Take a name away, and the image with it where that was its only one."""
        with self.api_call(f"remove {reference}"), suppress(NotFound):
            self.api.remove_image(reference, noprune=True)

    # -- handing out ----------------------------------------------------------------------------

    def save(self, reference: str, out: IO[bytes]) -> int:
        """Write the image as `docker save` does; returns the bytes written."""
        written = 0
        with self.api_call(f"save {reference}", _LONG):
            for chunk in self.api.get_image(reference):
                self.check_deadline(f"save {reference}")
                written += out.write(chunk)
        return written

    def push(self, reference: str, progress: Progress) -> str:
        """Push a name to the registry in it; returns the manifest's digest (sha256:…)."""
        name, tag = _split(reference)
        digest = ""
        moved = TransferProgress(progress)
        with self.api_call(f"push {reference}", _LONG):
            for told in self.api.push(name, tag=tag, stream=True, decode=True):
                self.check_deadline(f"push {reference}")
                if "error" in told:
                    raise EngineError(f"cannot push {reference}", why=str(told["error"]))
                moved.update(told)
                digest = (told.get("aux") or {}).get("Digest", digest)
        if not digest:
            raise EngineError(f"pushed {reference}, but was told no digest")
        return str(digest)

    # -- limits ---------------------------------------------------------------------------------

    def check_deadline(self, doing: str) -> None:
        if self._deadline.expired:
            raise EngineError(
                f"the Docker engine did not {doing} in time",
                next_step="run again with a longer --timeout: what is done is kept",
            )

    @contextmanager
    def api_call(self, action: str, seconds: float = _CALL) -> Iterator[None]:
        self.check_deadline(action)
        self.api.timeout = _seconds(self._deadline, seconds)
        try:
            yield
        except ENGINE_FAILURES as broken:
            self.check_deadline(action)
            if not isinstance(broken, APIError) and not self._answers():
                raise EngineError(
                    f"the Docker engine went away when it was to {action}",
                    why=_reason(broken),
                    next_step=_GONE,
                ) from broken
            why = _reason(broken)
            raise EngineError(
                f"the Docker engine could not {action}", why=why, next_step=disk_full_advice(why)
            ) from broken

    def _answers(self) -> bool:
        try:
            self.api.timeout = 5
            return bool(self.api.ping())
        except ENGINE_FAILURES:
            return False


def _seconds(deadline: Deadline, most: float) -> int:
    return max(1, math.ceil(min(most, deadline.remaining())))


def _split(reference: str) -> tuple[str, str]:
    """Name and tag; a colon before the last slash belongs to a registry's port."""
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "latest")


def _reason(broken: BaseException) -> str:
    if isinstance(broken, APIError) and broken.explanation:
        return str(broken.explanation)
    return str(broken)[:500] or type(broken).__name__
