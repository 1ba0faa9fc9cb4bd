"""Describe an image by its layers and its configuration, and write it for `docker load`."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from images.assembly.cache import Segment
from images.assembly.segment import END_MARK, LayerEntry, merge_indexes

CREATED = "1980-01-01T00:00:00Z"  # as SOURCE_DATE_EPOCH: an image's digest depends on no clock
# what an image inherits from its base (OCI image specification, "config")
_INHERITED = (
    *("Env", "Cmd", "ExposedPorts", "Volumes", "StopSignal", "Healthcheck", "Shell", "Labels"),
    *("User", "WorkingDir"),
)
_CHUNK_BYTES = 1 << 20
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer: its digest (sha256:…) and bytes, what it is for, and the segments in it."""

    digest: str
    size: int
    text: str
    segments: tuple[Segment, ...]

    def read(self) -> Iterator[bytes]:
        yield from read_layer(self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLayers:
    """The image below ours, as the engine describes it. ``config`` is its configuration."""

    name: str
    architecture: str
    layers: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledImage:
    """An image that is not in an engine yet. ``config`` is its configuration file (JSON)."""

    base: BaseLayers
    layers: tuple[ImageLayer, ...]
    config: bytes

    @property
    def id(self) -> str:
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    @property
    def digests(self) -> tuple[str, ...]:
        return (*self.base.layers, *(layer.digest for layer in self.layers))


def read_layer(segments: Sequence[Segment]) -> Iterator[bytes]:
    """Yield the bytes of a layer."""
    pieces = merge_indexes([segment.read_index() for segment in segments])
    for number, several in groupby(pieces, key=itemgetter(0)):
        with segments[number].path.open("rb") as file:
            for _, start, end in several:
                file.seek(start)
                left = end - start
                while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                    left -= len(chunk)
                    yield chunk
    yield END_MARK


def describe_image(
    base: BaseLayers,
    layers: Sequence[ImageLayer],
    *,
    environment: Mapping[str, str],
    user: str,
    workdir: str,
    command: Sequence[str],
    labels: Mapping[str, str],
) -> AssembledImage:
    """Return the image of a base and layers. It has no entrypoint, as docs/image.md says."""
    inherited = {key: base.config[key] for key in _INHERITED if base.config.get(key)}
    variables = dict(line.split("=", 1) for line in inherited.get("Env", ()))
    config = {
        **inherited,
        "Env": [f"{name}={value}" for name, value in {**variables, **environment}.items()],
        "User": user,
        "WorkingDir": workdir,
        "Cmd": list(command),
        "Labels": {**inherited.get("Labels", {}), **labels},
    }
    digests = [*base.layers, *(layer.digest for layer in layers)]
    texts = [*(f"base image {base.name}" for _ in base.layers), *(layer.text for layer in layers)]
    document = {
        "architecture": base.architecture,
        "os": "linux",
        "created": CREATED,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created": CREATED, "created_by": f"build-image: {text}"} for text in texts],
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return AssembledImage(base=base, layers=tuple(layers), config=text.encode())


def write_archive(image: AssembledImage, reference: str, present: int) -> Iterator[bytes]:
    """Yield an archive for `docker load`, without the lowest layers, which the engine has.

    ``present`` is their number, at least those of the base. The engine finds them by their digests,
    and does not look for their files.
    """
    names = [digest.removeprefix("sha256:") + ".tar" for digest in image.digests]
    config_name = image.id.removeprefix("sha256:") + ".json"
    yield from _write_file(config_name, [image.config], len(image.config))
    written = set(names[:present])
    for layer in image.layers:
        name = layer.digest.removeprefix("sha256:") + ".tar"
        if name not in written:
            written.add(name)
            yield from _write_file(name, layer.read(), layer.size)
    manifest = [{"Config": config_name, "RepoTags": [reference], "Layers": names}]
    content = json.dumps(manifest).encode()
    yield from _write_file(MANIFEST, [content], len(content))
    yield END_MARK


def _write_file(name: str, content: Iterator[bytes] | list[bytes], size: int) -> Iterator[bytes]:
    yield LayerEntry(name=name, size=size).render_header()
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE)
