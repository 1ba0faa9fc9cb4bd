"""Read from a project's files what the proof needs to know."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from images.advice import find_templates
from images.application_recipe import ApplicationRecipe
from images.proof import SourceFacts
from images.source import ProjectSource
from images.toml_file import read_pyproject
from mirror.core.errors import InputError

_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache"}
_METADATA_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
_MAX_TEMPLATE_BYTES = 1024 * 1024


def read_source_facts(
    source: ProjectSource, recipe: ApplicationRecipe, members: tuple[str, ...]
) -> SourceFacts:
    """Return what the proof needs to know of a project. Raises InputError for a bad template.

    ``members`` are the folders of the source that are installed.
    """
    folder, project = source.folder, source.folder / source.project
    pyproject = read_pyproject(project)
    return SourceFacts(
        folders=members,
        metadata_sha256=_hash_metadata(folder, members),
        dependencies=len(list(_list_dependencies(pyproject))),
        optional=dict(_list_optional(pyproject, recipe)),
        templates=find_templates(_list_files(folder)),
        template_files=dict(_read_templates(source, recipe.proof_templates)),
    )


def _hash_metadata(folder: Path, members: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for place in (folder, *(folder / member for member in members)):
        for name in _METADATA_FILES:
            path = place / name
            digest.update(path.read_bytes() if path.is_file() else b"")
            digest.update(b"\0")
    return digest.hexdigest()


def _read_templates(
    source: ProjectSource, templates: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file that the image has only as a template.

    A recipe may name templates that some versions of a project do not have.
    """
    for path, template in templates.items():
        place = source.folder / template
        if path in source.files or not place.is_file():
            continue
        if place.stat().st_size > _MAX_TEMPLATE_BYTES:
            raise InputError(
                f"the template {template} is too large",
                why="it is larger than 1 MiB",
                next_step="give the file with the recipe's proof_files",
            )
        yield path, place.read_text(errors="replace")


def _list_files(folder: Path) -> Iterator[str]:
    """Yield the paths of a project's files, relative to it."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in names:
            yield str(Path(place, name).relative_to(folder))


def _list_dependencies(pyproject: Mapping[str, Any]) -> Iterator[str]:
    yield from pyproject.get("project", {}).get("dependencies", [])
    poetry = pyproject.get("tool", {}).get("poetry", {}).get("dependencies", {})
    yield from (name for name in poetry if name != "python")


def _list_optional(
    pyproject: Mapping[str, Any], recipe: ApplicationRecipe
) -> Iterator[tuple[str, str]]:
    """Yield each distribution of an extra or group that the image does not have, and its option."""
    project, tool = pyproject.get("project", {}), pyproject.get("tool", {})
    needed = {_name_of(text) for text in project.get("dependencies", [])}
    extras = project.get("optional-dependencies", {})
    groups = {
        **pyproject.get("dependency-groups", {}),
        **tool.get("poetry", {}).get("group", {}),
    }
    if development := tool.get("uv", {}).get("dev-dependencies"):
        groups.setdefault("dev", development)
    for option, tables, chosen in (
        ("--extra", extras, recipe.extras),
        ("--group", groups, recipe.groups),
    ):
        for name, table in tables.items():
            for text in _list_table(table):
                distribution = _name_of(text)
                if name in chosen:
                    needed.add(distribution)
                elif distribution not in needed:
                    yield distribution, f"{option} {name}"


def _list_table(table: object) -> Iterator[str]:
    """Yield the requirements of an extra, a group, or a group of Poetry."""
    if isinstance(table, Mapping):
        yield from table.get("dependencies", {})
    elif isinstance(table, list):
        yield from (text for text in table if isinstance(text, str))


def _name_of(text: str) -> str:
    try:
        return str(canonicalize_name(Requirement(text).name))
    except InvalidRequirement:
        return str(canonicalize_name(re.split(r"[^\w.-]", text.strip())[0]))
