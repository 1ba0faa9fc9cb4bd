"""Derive a recipe from a project's files; write one as TOML; find a project's packages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from images.application_recipe import KIND, ApplicationRecipe
from images.project.reader import read_project
from images.project.reading import ProjectReading
from images.source import ProjectSource
from images.toml_file import read_pyproject
from mirror.core.codec import dump
from mirror.core.errors import InputError

_NOT_PACKAGES = {"tests", "test", "docs", "examples", "scripts", "build", "dist", "benchmarks"}
# one of these makes a folder a project
_PROJECT_FILES = (
    *("pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "Pipfile.lock", "requirements.txt"),
    *("requirements", "uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Procfile"),
)


def read_source_project(source: ProjectSource, base: str | None = None) -> ProjectReading:
    """Read the files of a project. Raises InputError if the folder has no Python project.

    ``base`` is the user's base image.
    """
    folder = source.folder / source.project
    if not any((folder / name).exists() for name in _PROJECT_FILES):
        raise InputError(
            f"no pyproject.toml in {folder}",
            why="there is no requirements.txt, Pipfile or lock either: it is no Python project",
            next_step="give the folder of a project, or a recipe: build-image --list",
        )
    return read_project(source.folder, source.project, base=base)


def derive_recipe(source: ProjectSource, base: str | None = None) -> ApplicationRecipe:
    """Return a recipe for a project. Raises InputError for the first contradiction in its files."""
    reading = read_source_project(source, base)
    reading.check()
    return reading.recipe


def render_reading(reading: ProjectReading) -> str:
    """Return the recipe of a project as TOML, with what it leaves out as comments above."""
    comments = [f"# {line}" for line in (*map(str, reading.not_taken), *_unknown_lines(reading))]
    return "".join(f"{line}\n" for line in comments) + render_recipe(reading.recipe)


def _unknown_lines(reading: ProjectReading) -> list[str]:
    return [f"unknown: {sentence}" for sentence in reading.unknown]


def render_recipe(recipe: ApplicationRecipe) -> str:
    """Return a recipe as the text of its TOML file, without values that are the default."""
    document = {"kind": KIND, **_dump_changed(recipe)}
    if recipe.starts:
        document["starts"] = [_dump_changed(start) for start in recipe.starts]
    return tomli_w.dumps(document)


def _dump_changed(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are neither empty nor the default."""
    return {
        known.name: dump(item)
        for known in fields(value)
        if (item := getattr(value, known.name)) != known.default and item not in ((), {})
    }


def find_packages(folder: Path, members: tuple[str, ...]) -> tuple[str, ...]:
    """Return the import names of the project's packages, in the src and in the flat layout.

    ``members`` are folders of further projects below ``folder``.
    """
    packages: list[str] = []
    for root in (folder, *(folder / member for member in members)):
        for top in (root / "src", root):
            names = sorted(path.parent.name for path in top.glob("*/__init__.py"))
            if names := [
                name for name in names if name.isidentifier() and name not in _NOT_PACKAGES
            ]:
                packages += names
                break
    return tuple(dict.fromkeys(packages))


def is_installable(folder: Path) -> bool:
    """Whether the project itself is installed: as its tool says, else if it has a build system."""
    document = read_pyproject(folder)
    tool = document.get("tool", {})
    for name, key in (("uv", "package"), ("poetry", "package-mode"), ("pdm", "distribution")):
        if isinstance(stated := tool.get(name, {}).get(key), bool):
            return stated
    return "build-system" in document and not _lacks_poetry_package(folder, document)


def _lacks_poetry_package(folder: Path, document: Mapping[str, Any]) -> bool:
    """Whether Poetry has nothing to install: no packages are listed, none has the project's name.

    `poetry install` goes on with a warning, other installers fail.
    """
    poetry = document.get("tool", {}).get("poetry")
    backend = str(document["build-system"].get("build-backend", ""))
    if poetry is None or not backend.startswith("poetry") or "packages" in poetry:
        return False
    name = str(poetry.get("name") or document.get("project", {}).get("name") or "")
    module = re.sub(r"[-_.]+", "_", name)
    names = (module, module.lower(), f"{module}.py")
    return not any((folder / top / name).exists() for top in ("", "src") for name in names)
