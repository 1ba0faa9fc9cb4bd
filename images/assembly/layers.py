"""Arrange the segments of an image into layers, from the most stable to the most changing one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from images.application_dockerfile import UV_PATH, owned_folders
from images.application_recipe import ApplicationRecipe
from images.assembly.cache import LayerCache, Segment, content_key, write_whole
from images.assembly.image import ImageLayer, read_layer
from images.assembly.install import InstalledParts, join_lines
from images.assembly.segment import LayerEntry

LARGE_BYTES = 8 * 1000**2  # a distribution of this size has a layer of its own
MAX_LARGE = 64  # engines limit the layers of an image to some 120
GROUP_BYTES = 16 * 1000**2  # about the size of a layer of small distributions


def group_distributions(
    distributions: Mapping[str, Segment],
) -> list[tuple[str, tuple[Segment, ...]]]:
    """Return text and segments of the layers of distributions.

    Which layer a distribution is in depends on its name and size, and hardly on the others: after a
    change of one, the other layers stay what they were.
    """
    sized = sorted(distributions.items(), key=lambda item: (-item[1].size.bit_length(), item[0]))
    large = [item for item in sized if item[1].size >= LARGE_BYTES][:MAX_LARGE]
    names = {name for name, _ in large}
    small = {name: part for name, part in sorted(distributions.items()) if name not in names}
    layers = [(f"dependency {name}", (part,)) for name, part in large]
    count = 1
    while count * GROUP_BYTES < sum(part.size for part in small.values()):
        count *= 2
    groups: list[list[Segment]] = [[] for _ in range(count)]
    for name, part in small.items():
        groups[int(hashlib.sha256(name.encode()).hexdigest(), 16) % count].append(part)
    return [*layers, *(("dependencies", tuple(group)) for group in groups if group)]


class LayerWriter:
    """Writes the layers of one image."""

    def __init__(self, recipe: ApplicationRecipe, parts: InstalledParts, cache: LayerCache) -> None:
        self._recipe, self._parts, self._cache = recipe, parts, cache
        self._folder = recipe.folder.lstrip("/")

    def write(self) -> tuple[ImageLayer, ...]:
        """Return the layers above the system's; the last two are the source and the project."""
        parts = self._parts
        above_uv = self._folders_above(UV_PATH.lstrip("/"))
        above = [*self._folders_above(self._folder), self._own(self._folder)]
        owned = [self._own(f"{self._folder}/{name}") for name in self._list_owned()]
        return (
            self._describe("uv", above_uv, [parts.uv]),
            *(
                self._describe(text, above, segments)
                for text, segments in group_distributions(parts.distributions)
            ),
            self._describe("environment", above, [parts.environment, self._write_lists()]),
            self._describe("source", [*above, *owned], [parts.source]),
            self._describe("project", above, [parts.project]),
        )

    def _describe(
        self, text: str, folders: Sequence[LayerEntry], segments: Sequence[Segment]
    ) -> ImageLayer:
        """Return a layer of folders and segments.

        Every folder above a file has to be in its layer: an engine creates those that are not, with
        another mode or owner.
        """
        above = self._write(dict.fromkeys(folders, b""))
        return describe_layer(text, [above, *segments], self._cache)

    def _folders_above(self, name: str) -> list[LayerEntry]:
        """Return the folders above a path, as the base image has them."""
        parts = name.split("/")[:-1]
        paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        known = self._parts.folders
        infos = {path: known.get(path, (0o755, 0, 0)) for path in paths}
        return [
            LayerEntry(name=path, kind=tarfile.DIRTYPE, mode=mode, owner=owner, group=group)
            for path, (mode, owner, group) in infos.items()
        ]

    def _own(self, path: str) -> LayerEntry:
        """Return a folder of the image's user."""
        user = self._recipe.user_id
        return LayerEntry(name=path, kind=tarfile.DIRTYPE, mode=0o755, owner=user, group=user)

    def _list_owned(self) -> list[str]:
        """Return the folders below the application's that its user owns, and those above them."""
        places = [path.strip("/") for path in owned_folders(self._recipe)]
        parts = [place.split("/") for place in places]
        return sorted({"/".join(some[:n]) for some in parts for n in range(1, len(some) + 1)})

    def _write_lists(self) -> Segment:
        """Return the files of the environment that no distribution has."""
        venv = f"{self._folder}/.venv"
        lists = {
            "built-from-sdist": join_lines(self._parts.built),
            "built-with": join_lines(self._parts.builders),
        }
        files = {
            LayerEntry(name=f"{venv}/{name}", size=len(text)): text for name, text in lists.items()
        }
        # uv creates it, for everybody to lock
        return self._write({LayerEntry(name=f"{venv}/.lock", mode=0o666): b"", **files})

    def _write(self, files: Mapping[LayerEntry, bytes]) -> Segment:
        """Return a segment of entries and their content."""
        headers = [entry.render_header().hex() for entry in files]
        contents = [content.hex() for content in files.values()]
        key = content_key("entries", headers=headers, contents=contents)
        if known := self._cache.find(key):
            return known
        with self._cache.stage() as staged:
            writer = staged.open(key)
            for entry, content in files.items():
                writer.add(entry, io.BytesIO(content))
            staged.commit({})
        return self._cache.get(key)


def describe_layer(text: str, segments: Sequence[Segment], cache: LayerCache) -> ImageLayer:
    """Return the layer of segments. Its digest is computed once."""
    key = content_key("layer", segments=[[part.key, part.stamp] for part in segments])
    path = cache.folder / f"{key}.layer"
    with suppress(OSError, ValueError):
        digest, size = json.loads(path.read_text())
        return ImageLayer(digest=str(digest), size=int(size), text=text, segments=tuple(segments))
    hashed, size = hashlib.sha256(), 0
    for chunk in read_layer(segments):
        hashed.update(chunk)
        size += len(chunk)
    digest = f"sha256:{hashed.hexdigest()}"
    write_whole(path, json.dumps([digest, size]))
    return ImageLayer(digest=digest, size=size, text=text, segments=tuple(segments))
