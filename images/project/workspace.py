"""Find the uv workspace that a project is a member of, and the members that it needs."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from images.toml_file import read_pyproject
from mirror.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A uv workspace. ``members`` maps canonical names to folders relative to the root."""

    root: Path
    members: Mapping[str, str]

    def find_member(self, folder: Path) -> str:
        """Return the relative folder of a member, "" for the root itself."""
        relative = folder.resolve().relative_to(self.root).as_posix()
        return "" if relative == "." else relative

    def find_unneeded(self, member: str) -> tuple[str, ...]:
        """Return the folders of members that a member does not need, not even indirectly."""
        folders = self.members
        needed: set[str] = set()
        waiting = [name for name, folder in folders.items() if folder == (member or ".")]
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            needed.add(name)
            document = read_pyproject(self.root / folders[name])
            waiting += [other for other in _list_names(document) if other in folders]
        kept = {folders[name] for name in needed} | {member}
        return tuple(
            folder
            for name, folder in folders.items()
            if name not in needed and not any(_is_inside(other, folder) for other in kept)
        )


def find_workspace(folder: Path) -> Workspace | None:
    """Return the workspace that a folder is the root or a member of, None if it is in none."""
    start = folder.resolve()
    for place in (start, *start.parents):
        table = read_pyproject(place).get("tool", {}).get("uv", {}).get("workspace")
        if isinstance(table, dict):
            members = dict(_list_members(place, table))
            is_member = any((place / inner).resolve() == start for inner in members.values())
            return Workspace(root=place, members=members) if is_member or place == start else None
        if (place / ".git").exists():
            return None
    return None


def find_package(workspace: Workspace | None, folder: Path, package: str) -> Path:
    """Return the folder of the member with a name. Raises InputError if there is none."""
    members = workspace.members if workspace else {}
    inner = members.get(str(canonicalize_name(package)))
    if workspace is not None and inner is not None:
        return workspace.root / inner
    raise InputError(
        f"{folder} has no package {package!r}",
        why="its workspace has " + ", ".join(members)
        if members
        else "no pyproject.toml there or above has a [tool.uv.workspace]",
        next_step="name one of these with --package" if members else "leave out --package",
    )


def choose_member(workspace: Workspace, folder: Path) -> str:
    """Return the member that a folder is, relative to the root; "" for a root with a project.

    A root without a project stands for its only member. Raises InputError if there are several.
    """
    member = workspace.find_member(folder)
    if member or "project" in read_pyproject(workspace.root):
        return member
    folders = list(workspace.members.values())
    if len(folders) == 1:
        return folders[0]
    programs = [inner for inner in folders if not _is_library(workspace.root / inner)]
    named = [name for name, inner in workspace.members.items() if inner in (programs or folders)]
    raise InputError(
        f"{folder} is a workspace of {len(folders)} projects, without one of its own",
        why="its members are " + ", ".join(folders) if folders else "it has no members",
        next_step=f"name the one to build: build-image {shlex.quote(str(folder))} "
        f"--package {(named or ['NAME'])[0]}",
    )


def _is_library(folder: Path) -> bool:
    """Whether nothing in a folder says how to start it."""
    starts = any((folder / name).exists() for name in ("Dockerfile", "Procfile", "manage.py"))
    return not starts and "scripts" not in read_pyproject(folder).get("project", {})


def _list_members(root: Path, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    excluded = {path for pattern in table.get("exclude", []) for path in root.glob(str(pattern))}
    if name := read_pyproject(root).get("project", {}).get("name"):
        yield str(canonicalize_name(str(name))), "."
    for pattern in table.get("members", []):
        for path in sorted(root.glob(posixpath.normpath(str(pattern)))):
            name = read_pyproject(path).get("project", {}).get("name") if path.is_dir() else None
            if name and path not in excluded:
                relative = path.relative_to(root).as_posix()
                yield str(canonicalize_name(str(name))), relative


def _list_names(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the canonical names of everything that a project may need."""
    project = document.get("project", {})
    groups = [*document.get("dependency-groups", {}).values()]
    lines = [
        *project.get("dependencies", []),
        *(line for lines in project.get("optional-dependencies", {}).values() for line in lines),
        *(line for group in groups for line in group if isinstance(line, str)),
        *document.get("build-system", {}).get("requires", []),
    ]
    for line in lines:
        try:
            yield str(canonicalize_name(Requirement(str(line)).name))
        except InvalidRequirement:
            continue


def _is_inside(path: str, folder: str) -> bool:
    return folder == "." or path == folder or path.startswith(f"{folder}/")
