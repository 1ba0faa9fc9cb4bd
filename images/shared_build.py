"""Code that the builds of both kinds of images share: the base image, and one logged build."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from images.build_context import pack_context
from images.engine import EngineClient, EngineImage
from images.source import ProjectSource
from mirror.core.errors import EngineError
from mirror.core.progress import Progress

_PROJECT = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """A named image in the engine. ``size`` in bytes; ``built`` is false if it already existed."""

    reference: str
    id: str
    architecture: str
    size: int
    built: bool


def describe_image(engine: EngineClient, reference: str, *, built: bool) -> BuiltImage:
    """Return a named image that the engine has."""
    image = engine.get(reference)
    return BuiltImage(
        reference=reference,
        id=image.id,
        architecture=image.architecture,
        size=image.size,
        built=built,
    )


def get_base_image(engine: EngineClient, name: str, progress: Progress) -> EngineImage:
    """Return a base image; pull it if the engine does not have it."""
    if image := engine.find(name):
        return image
    try:
        return engine.pull(name, progress)
    except EngineError as error:
        raise EngineError(
            f"no base image: the Docker engine does not have {name} and cannot pull it",
            why=error.why,
            next_step="load it (docker load), or choose another --base that the engine has or can "
            "pull",
        ) from error


def build_unnamed(
    engine: EngineClient,
    files: Mapping[str, bytes],
    progress: Progress,
    *,
    source: ProjectSource | None = None,
    labels: Mapping[str, str] | None = None,
    network_mode: str = "host",
    no_cache: bool = False,
    append_log: bool = False,
) -> str:
    """Build files (with a Dockerfile) and a source; return the id of the unnamed image.

    The build writes a log file, whose path is part of the error if it fails; ``append_log`` appends
    to an existing log.
    """
    path = build_log_path()
    mode = "a" if append_log else "w"
    with path.open(mode, buffering=1) as log, pack_context(files, source) as context:
        try:
            return engine.build(
                context,
                log=log,
                progress=progress,
                labels=labels or {},
                network_mode=network_mode,
                no_cache=no_cache,
            )
        except EngineError as error:
            error.next_step = error.next_step or f"the whole log: {path}"
            raise


def build_log_path() -> Path:
    """Return the file of the last build's log."""
    folder = platformdirs.user_log_path(_PROJECT, appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PROJECT}-"))
    return folder / "build.log"
