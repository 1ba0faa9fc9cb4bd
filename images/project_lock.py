"""Read a project's lock: what to install from the index, and what belongs to the source.

images/locks has a reader for each tool. Nothing is resolved again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from images.application_recipe import ApplicationRecipe
from images.locks import LockedProject, LockKind, requirements
from images.locks.advice import advise_lock, list_dependencies
from images.locks.kinds import KINDS
from images.toml_file import read_pyproject
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.lock import PinnedDistribution


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLock:
    """A project's lock. ``file`` is its name, ``sha256`` its hash (hex).

    ``requires_python`` is a PEP 440 specifier, empty if the lock has none.

    ``pins`` are in the lock's order; paths in them are absolute. ``members`` are the folders of the
    source, relative to the project, that are installed from there.
    """

    file: str
    sha256: str
    requires_python: str = ""
    pins: tuple[PinnedDistribution, ...]
    members: tuple[str, ...]

    @property
    def requirements_text(self) -> str:
        """The lock as a requirements file, once every pin is in an index."""
        return "".join(f"{pin.requirement}\n" for pin in self.pins)


def read_project_lock(
    folder: Path,
    recipe: ApplicationRecipe,
    deadline: Deadline,
    *,
    member: str = "",
    vendored: frozenset[str] = frozenset(),
) -> ProjectLock:
    """Read the lock of the project in a folder, or of a member of the workspace there.

    Raises InputError if there is no lock, it is out of date, an extra is unknown, or a pin has no
    hash and its name is not in ``vendored``.
    """
    project = LockedProject(
        root=folder,
        folder=folder / member,
        extras=recipe.extras,
        groups=recipe.groups,
        deadline=deadline,
        vendored=vendored,
        base=recipe.base,
    )
    kind, path = find_lock(project, recipe.lock)
    name = path.name
    if kind.tool != "uv":
        _check_extras(project.folder, recipe.extras)
    lock = kind.read(project, path)
    if lock.skipped:
        raise InputError(
            f"a line of {name} cannot be used: {lock.skipped[0][:80]!r}",
            why="it is an option, and only --hash is supported",
            next_step="remove the option; an image takes names with ==, URLs and paths",
        )
    pins, members = [], []
    for pin in lock.pins:
        if not pin.origin and not pin.version:
            raise InputError(
                f"{pin.name} is not pinned in {name}",
                why=f"{(pin.name + pin.specifier)[:80]!r} does not name a single version",
                next_step=advise_lock(project, path),
            )
        resolved = resolve_pin(pin, path.parent, name, root=folder)
        if isinstance(resolved, str):
            members.append(resolved)
            continue
        pins.append(resolved)
        if not resolved.origin and not resolved.hashes and resolved.name not in vendored:
            raise InputError(
                f"{resolved.name} {resolved.version} has no hash in {name}",
                why="without a hash, the installed file cannot be compared with the locked one",
                next_step=advise_lock(project, path)
                + f"; or give a file for it: --vendor {resolved.name}=WHEEL",
            )
    if not pins and not members and (needed := list_dependencies(project.folder)):
        raise InputError(
            f"{name} has no packages, but the project needs {', '.join(needed[:3])}",
            why="it was made for another project, or with another tool",
            next_step=advise_lock(project, None),
        )
    own = (member or ".", ".")
    return ProjectLock(
        file=name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        requires_python=lock.requires_python,
        pins=tuple(pins),
        members=tuple(name for name in dict.fromkeys(members) if name not in own),
    )


def find_lock(project: LockedProject, name: str = "") -> tuple[LockKind, Path]:
    """Return the lock of a project: the named file, or the first with a usual name."""
    if name:
        path = project.folder / name
        found = (kind for kind in KINDS if path in [*kind.find(project)])
        if path.is_file():
            return next(found, requirements.KIND), path
        raise InputError(
            f"{project.folder} has no {name}",
            why="the recipe names it as its lock",
            next_step="make it there, or remove `lock` from the recipe",
        )
    for kind in KINDS:
        for path in kind.find(project):
            return kind, path
    raise InputError(
        f"{project.folder} has no lock",
        why="an image is built from exact versions with hashes: a uv.lock, pylock.toml, "
        "poetry.lock, pdm.lock, Pipfile.lock, or requirements with --hash",
        next_step=advise_lock(project, None),
    )


def resolve_pin(
    pin: PinnedDistribution, folder: Path, lock: str, *, root: Path | None = None
) -> PinnedDistribution | str:
    """Check a pin of a lock. Return it with an absolute path, or the folder of a workspace member.

    ``lock`` is the name of the lock file, ``folder`` where it is, ``root`` the source. Raises
    InputError for a path that does not exist.
    """
    if pin.source != "path":
        return pin
    if "\0" in pin.origin:
        raise InputError(
            f"{lock} has an invalid path",
            why=f"{pin.origin[:80]!r} contains a NUL byte",
            next_step="lock again: uv lock, or uv pip compile --generate-hashes",
        )
    root = (root or folder).resolve()
    path = (folder / pin.origin.removeprefix("file://")).resolve()
    if path.is_dir() and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    if not pin.name and not path.exists():
        raise InputError(
            f"{lock} needs {pin.origin}, which does not exist",
            why=f"there is no file or folder {path}",
            next_step="give the whole repository that contains the project, or lock again",
        )
    return replace(pin, name=pin.name or _read_name(path), origin=str(path))


def _check_extras(folder: Path, extras: Sequence[str]) -> None:
    """Raise InputError for an extra that the project does not have.

    Locks other than uv.lock must already contain what the extras need.
    """
    document = read_pyproject(folder)
    known = {
        **document.get("project", {}).get("optional-dependencies", {}),
        **document.get("tool", {}).get("poetry", {}).get("extras", {}),
    }
    if unknown := {*map(canonicalize_name, extras)} - {*map(canonicalize_name, known)}:
        raise InputError(
            f"{folder} has no extra {', '.join(sorted(unknown))}",
            why="pyproject.toml has " + (", ".join(known) or "none"),
            next_step="give one of these with --extra, or none",
        )


def _read_name(path: Path) -> str:
    """Return the name of the distribution in a folder, a wheel or an sdist."""
    if not path.is_dir():
        return canonicalize_name(path.name.split("-")[0])
    return canonicalize_name(str(read_pyproject(path).get("project", {}).get("name", path.name)))
