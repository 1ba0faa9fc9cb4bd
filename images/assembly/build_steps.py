"""Run a recipe's build_steps in an assembled image, and take what they change as a layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from posixpath import dirname
from typing import IO

from images.application_recipe import ApplicationRecipe
from images.assembly.cache import LayerCache, Segment, content_key
from images.assembly.container_files import read_entries
from images.assembly.segment import SegmentWriter
from images.assembly.steps import AssemblySteps
from images.engine.containers import Change, ContainerSpec
from images.inside import read_program

_PROGRAM = "/pypi-mirror/run_steps.py"


def run_build_steps(
    recipe: ApplicationRecipe,
    image: str,
    cache: LayerCache,
    steps: AssemblySteps,
    *,
    fresh: bool,
) -> Segment:
    """Return the segment with what the steps have changed in an image (id)."""
    key = content_key(
        "build_steps",
        image=image,
        steps=recipe.build_steps,
        environment=dict(recipe.build_environment),
    )
    if not fresh and (known := cache.find(key)):
        return known
    spec = ContainerSpec(
        image=image,
        argv=("python3", _PROGRAM, json.dumps(recipe.build_steps)),
        environment=recipe.build_environment,
        files={_PROGRAM: read_program("run_steps.py")},
    )
    text = "; ".join(" ".join(step) for step in recipe.build_steps)
    with steps.run(text, spec) as container, cache.stage() as staged:
        copy_changes(container.list_changes(), container.read_archive, staged.open(key))
        staged.commit({})
    return cache.get(key)


def copy_changes(
    changes: Mapping[str, Change],
    read_archive: Callable[[str], AbstractContextManager[IO[bytes]]],
    writer: SegmentWriter,
) -> None:
    """Write what a container has changed: entries, and marks for what it has removed.

    ``read_archive`` opens an archive of a path in it.
    """
    paths: dict[Change, list[str]] = {"modified": [], "added": [], "removed": []}
    for path, change in changes.items():
        if not is_below(path, dirname(_PROGRAM)):
            paths[change].append(path)
    for path in sorted(paths["modified"]):  # a file, or a folder with changes in it
        with read_archive(path) as stream:
            entry, content = next(read_entries(stream, path.lstrip("/")))
            writer.add(entry, content)
    for path in find_tops(paths["added"]):
        with read_archive(path) as stream:
            for entry, content in read_entries(stream, path.lstrip("/")):
                writer.add(entry, content)
    for path in find_tops(paths["removed"]):
        writer.add_whiteout(path.lstrip("/"))


def find_tops(paths: Iterable[str]) -> list[str]:
    """Return the paths that are below no other one."""
    tops: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not tops or not is_below(path, tops[-1]):
            tops.append(path)
    return tops


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, or below it."""
    return path == folder or path.startswith(f"{folder}/")
