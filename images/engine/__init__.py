"""Access to the Docker engine: every call has a time limit and fails with EngineError.

Nothing outside this package imports the Docker SDK.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import IO, Any, cast

import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env, parse_repository_tag

from images.engine.build_log import BuildLog, disk_full_advice, shorten_step
from images.engine.docker_context import read_docker_context
from images.engine.transfer import TransferProgress
from mirror.core.errors import EngineError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_CALL_SECONDS = 60.0  # limit of a call that needs no work
_STREAM_SECONDS = 1800.0  # limit between two messages of a build, pull, push or save
ENGINE_FAILURES = (DockerException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineImage:
    """An image in the engine. ``size`` in bytes; ``architecture`` as Docker names it.

    ``layers`` are the digests of its layers, the lowest first; ``config`` is what containers of it
    get, with the keys of the OCI image specification.
    """

    id: str
    architecture: str
    size: int
    labels: Mapping[str, str]
    layers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


class EngineClient:
    """A client of one Docker engine. Its calls raise EngineError and share one deadline."""

    def __init__(self, api: APIClient, deadline: Deadline) -> None:
        self.api = api
        self.deadline = deadline
        self._last_build = BuildLog()

    @classmethod
    def connect(cls, deadline: Deadline) -> EngineClient:
        """Connect to the engine of DOCKER_HOST, else of the current Docker context."""
        options = dict[str, Any](kwargs_from_env())
        try:
            options = options if options.get("base_url") else read_docker_context()
            api = APIClient(**options, version="auto", timeout=_limit(deadline, 10))
        except (*ENGINE_FAILURES, ValueError) as error:
            address = options.get("base_url") or "the local engine"
            raise EngineError(
                f"no Docker engine to build with: {address} does not answer",
                why=_reason(error),
                next_step=_connect_advice(error),
            ) from error
        return cls(api, deadline)

    # -- images ---------------------------------------------------------------------------------

    def find(self, reference: str) -> EngineImage | None:
        """Return the image with this name or id, or None if the engine does not have it."""
        with self.api_call(f"look for {reference}"):
            try:
                details: Any = self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except NotFound:
                return None
        return EngineImage(
            id=details["Id"],
            architecture=details["Architecture"],
            size=details["Size"],
            labels=details["Config"].get("Labels") or {},
            layers=tuple(details.get("RootFS", {}).get("Layers") or ()),
            config=details["Config"],
        )

    def list_names(self, repository: str) -> list[str]:
        """Return the names of all images in a repository."""
        with self.api_call(f"list the images of {repository}"):
            images: Any = self.api.images(repository)
        return [name for image in images for name in image["RepoTags"] or ()]

    def get(self, reference: str) -> EngineImage:
        """Return the image with this name or id. EngineError if the engine does not have it."""
        image = self.find(reference)
        if image is None:
            raise EngineError(
                f"the Docker engine has no image {reference}",
                why="it was never built or loaded, or another process has removed it",
                next_step="build it again, or load it with `docker load`",
            )
        return image

    def pull(self, reference: str, progress: Progress) -> EngineImage:
        """Pull an image from its registry."""
        progress.step(f"pull {reference}")
        with self.api_call(f"pull {reference}", _STREAM_SECONDS):
            events = self.api.pull(reference, stream=True, decode=True)
            self._follow(events, f"pull {reference}", progress)
        return self.get(reference)

    def push(self, reference: str, progress: Progress) -> str:
        """Push an image to the registry in its name; return the manifest's digest (sha256:…)."""
        name, tag = _split_reference(reference)
        with self.api_call(f"push {reference}", _STREAM_SECONDS):
            events = self.api.push(name, tag=tag, stream=True, decode=True)
            digest = self._follow(events, f"push {reference}", progress)
        if not digest:
            raise EngineError(f"pushed {reference}, but the registry reported no digest")
        return digest

    def _follow(self, events: Any, action: str, progress: Progress) -> str:
        """Show a transfer's events until it ends; return the digest it reports, or ""."""
        transfer, digest = TransferProgress(progress), ""
        for event in events:
            self.check_deadline(action)
            if "error" in event:
                raise EngineError(f"cannot {action}", why=str(event["error"]))
            transfer.update(event)
            digest = (event.get("aux") or {}).get("Digest", digest)
        return str(digest)

    def tag(self, image: str, reference: str) -> None:
        """Name an image. If another image has the name, the name moves."""
        name, tag = _split_reference(reference)
        with self.api_call(f"tag {image} as {reference}"):
            self.api.tag(image, name, tag, force=True)

    def untag(self, reference: str) -> None:
        """Remove a name, and the image itself if it has no other name."""
        with self.api_call(f"remove {reference}"), suppress(NotFound):
            self.api.remove_image(reference, noprune=True)

    def save(self, reference: str, out: IO[bytes]) -> int:
        """Write an image in the format of `docker save`; return the number of bytes."""
        written = 0
        with self.api_call(f"save {reference}", _STREAM_SECONDS):
            for chunk in self.api.get_image(reference):
                self.check_deadline(f"save {reference}")
                written += out.write(chunk)
        return written

    def load(self, archive: Iterator[bytes], reference: str) -> EngineImage:
        """Load an archive in the format of `docker save` with one image; return that image."""

        def limited() -> Iterator[bytes]:
            for chunk in archive:
                self.check_deadline(f"load {reference}")
                yield chunk

        with self.api_call(f"load {reference}", _STREAM_SECONDS):
            events: Any = self.api.load_image(limited())  # type: ignore[no-untyped-call]
            for event in events:
                self.check_deadline(f"load {reference}")
                if "error" in event:
                    why = str(event["error"])
                    raise EngineError(
                        f"the Docker engine could not load {reference}",
                        why=why,
                        next_step=disk_full_advice(why),
                    )
        return self.get(reference)

    def count_present(self, layers: Sequence[str], label: str) -> int:
        """Return how many of an image's lowest layers the images with a label have, too."""
        with self.api_call("list the layers of images"):
            images: Any = self.api.images(filters={"label": label}, quiet=True)
            counts = [0]
            for image in dict.fromkeys(images):
                with suppress(NotFound):  # removed a moment ago
                    details: Any = self.api.inspect_image(image)  # type: ignore[no-untyped-call]
                    known = details["RootFS"].get("Layers") or ()
                    pairs = zip(layers, known, strict=False)
                    counts.append(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return max(counts)

    def uses_containerd_store(self) -> bool:
        """Whether the engine keeps images in containerd's store, which knows no layer by itself."""
        with self.api_call("describe itself"):
            info: Any = self.api.info()
        status = info.get("DriverStatus") or ()
        return ["driver-type", "io.containerd.snapshotter.v1"] in [list(pair) for pair in status]

    # -- builds ---------------------------------------------------------------------------------

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
        """Build a context (a tar with a Dockerfile); return the id of the unnamed image.

        Steps go to ``progress`` and every line to ``log``. The build's containers are always
        removed; if this process is interrupted, the engine stops the build. Raises EngineError
        with the failed step and its last lines.
        """
        build_log = self._last_build = BuildLog()
        image = ""
        with self.api_call("build", _STREAM_SECONDS):
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
            # the engine stops the build when the connection of the stream closes
            with closing(cast("Any", stream)):
                for event in stream:
                    self.check_deadline(f"build ({build_log.step})")
                    text = event.get("error") or event.get("stream") or event.get("status") or ""
                    log.write(text)
                    if position := build_log.append(text):
                        progress.count(*position, build_log.step)
                    if "error" in event:
                        log.write("\n")
                        raise EngineError(
                            f"the build failed at: {shorten_step(build_log.step)}",
                            why=build_log.tail,
                            next_step=disk_full_advice(build_log.tail),
                        )
                    image = event.get("aux", {}).get("ID", image)
        if not image:
            raise EngineError("the build produced no image", why=build_log.tail)
        return image

    @property
    def last_output(self) -> str:
        """What the last step of the last build printed."""
        return self._last_build.printed

    def discard_last_build(self) -> None:
        """Remove the unnamed images of the last build, so that no later build reuses them."""
        self.api.timeout = 30  # even after the deadline
        for image in reversed(self._last_build.intermediate_images):
            with suppress(*ENGINE_FAILURES):  # already removed, or used by another image
                details: Any = self.api.inspect_image(image)  # type: ignore[no-untyped-call]
                if not details["RepoTags"]:
                    self.api.remove_image(image, noprune=True)

    # -- time limits ----------------------------------------------------------------------------

    def check_deadline(self, action: str) -> None:
        """Raise EngineError if the deadline has passed."""
        if self.deadline.expired:
            raise EngineError(
                f"the Docker engine did not {action} in time",
                next_step="run again with a longer --timeout: finished layers are reused",
            )

    @contextmanager
    def api_call(self, action: str, seconds: float = _CALL_SECONDS) -> Iterator[None]:
        """Limit the calls of a block and turn their failures into EngineError.

        ``action`` completes "the Docker engine could not …".
        """
        self.check_deadline(action)
        self.api.timeout = _limit(self.deadline, seconds)
        try:
            yield
        except ENGINE_FAILURES as error:
            self.check_deadline(action)
            why = _reason(error)
            if not isinstance(error, APIError) and not self._is_alive():
                raise EngineError(
                    f"lost the connection to the Docker engine: could not {action}",
                    why=why,
                    next_step="start it again (systemctl start docker), then run the same command: "
                    "it removes the leftovers",
                ) from error
            raise EngineError(
                f"the Docker engine could not {action}", why=why, next_step=disk_full_advice(why)
            ) from error

    def _is_alive(self) -> bool:
        try:
            self.api.timeout = 5
            return bool(self.api.ping())
        except ENGINE_FAILURES:
            return False


def _limit(deadline: Deadline, seconds: float) -> int:
    return max(1, math.ceil(min(seconds, deadline.remaining())))


def _split_reference(reference: str) -> tuple[str, str]:
    name, tag = parse_repository_tag(reference)
    return name, tag or "latest"


def _connect_advice(error: BaseException) -> str:
    if "Permission denied" in str(error) or "PermissionError" in str(error):
        return 'let your user use the engine: sudo usermod -aG docker "$USER" && newgrp docker'
    return "start Docker (sudo systemctl start docker), or set DOCKER_HOST to another engine"


def _reason(error: BaseException) -> str:
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation)
    return str(error)[:500] or type(error).__name__
