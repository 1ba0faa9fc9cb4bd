"""Read a project's lock: what to install from the index, and what belongs to the source.

mirror/lock.py parses the files, `uv export` selects from a uv.lock. Nothing is resolved again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from images.application_recipe import ApplicationRecipe
from images.lock_drift import find_drift
from images.toml_file import read_pyproject, read_toml
from images.uv import export_lock
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.lock import LockFile, PinnedDistribution, parse_requirements, read_lock

_LOCKS = ("uv.lock", "pylock.toml", "requirements.txt")  # the first that exists is used


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLock:
    """A project's lock. ``file`` is its name, ``sha256`` its hash (hex).

    ``pins`` are in the lock's order; paths in them are absolute. ``members`` are the folders of the
    source, relative to the project, that are installed from there.
    """

    file: str
    sha256: str
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
    vendored: frozenset[str] = frozenset(),
) -> ProjectLock:
    """Read the lock of the project in a folder.

    Raises InputError if there is no lock, it is out of date, an extra is unknown, or a pin has no
    hash and its name is not in ``vendored``.
    """
    name = next((name for name in _LOCKS if (folder / name).is_file()), None)
    if name is None:
        raise InputError(
            f"{folder} has no lock",
            why="an image is built from exact versions with hashes: uv.lock, pylock.toml or a "
            "requirements.txt with --hash",
            next_step="make one there: uv lock",
        )
    lock = _read_lock_file(folder, name, recipe, deadline)
    if lock.skipped:
        raise InputError(
            f"a line of {name} cannot be used: {lock.skipped[0][:80]!r}",
            why="it is an option, and only --hash is supported",
            next_step="remove the option; an image takes names with ==, URLs and paths",
        )
    pins, members = [], []
    for pin in lock.pins:
        resolved = resolve_pin(pin, folder, name)
        if isinstance(resolved, str):
            members.append(resolved)
            continue
        pins.append(resolved)
        if not resolved.origin and not resolved.hashes and resolved.name not in vendored:
            raise InputError(
                f"{resolved.name} {resolved.version} has no hash in {name}",
                why="without a hash, the installed file cannot be compared with the locked one",
                next_step="lock it with hashes (uv lock, or uv pip compile --generate-hashes), "
                f"or give a file for it: --vendor {resolved.name}=WHEEL",
            )
    return ProjectLock(
        file=name,
        sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        pins=tuple(pins),
        # "." is the project itself
        members=tuple(member for member in dict.fromkeys(members) if member != "."),
    )


def resolve_pin(pin: PinnedDistribution, folder: Path, lock: str) -> PinnedDistribution | str:
    """Check a pin of a lock. Return it with an absolute path, or the folder of a workspace member.

    ``lock`` is the name of the lock file. Raises InputError for a pin without a version and for a
    path that does not exist.
    """
    if pin.source != "path":
        if pin.origin or pin.version:
            return pin
        raise InputError(
            f"{pin.name} is not pinned in {lock}",
            why=f"{(pin.name + pin.specifier)[:80]!r} does not name a single version",
            next_step="lock it: uv lock, or uv pip compile --generate-hashes",
        )
    if "\0" in pin.origin:
        raise InputError(
            f"{lock} has an invalid path",
            why=f"{pin.origin[:80]!r} contains a NUL byte",
            next_step="lock again: uv lock, or uv pip compile --generate-hashes",
        )
    root = folder.resolve()
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


def _read_lock_file(
    folder: Path, name: str, recipe: ApplicationRecipe, deadline: Deadline
) -> LockFile:
    if name != "uv.lock":
        _check_extras(folder, recipe.extras)
        return read_lock(str(folder / name))
    _check_up_to_date(folder)
    text = export_lock(folder, recipe.extras, recipe.groups, deadline)
    return parse_requirements(text, name)


def _check_up_to_date(folder: Path) -> None:
    """Raise InputError if uv.lock was made for another pyproject.toml."""
    lock, project = read_toml(folder / "uv.lock"), read_toml(folder / "pyproject.toml")
    try:
        drift = list(find_drift(project, lock))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"uv.lock or pyproject.toml of {folder} has an unexpected structure",
            why=f"{type(error).__name__}: {error}",
            next_step="check that `uv lock` works there",
        ) from error
    if drift:
        raise InputError(
            f"uv.lock of {folder} is out of date",
            why="; ".join(drift[:5]) + " — in pyproject.toml and not in the lock",
            next_step="lock it again there: uv lock",
        )


def _check_extras(folder: Path, extras: Sequence[str]) -> None:
    """Raise InputError for an extra that the project does not have.

    Locks other than uv.lock must already contain what the extras need.
    """
    known = read_pyproject(folder).get("project", {}).get("optional-dependencies", {})
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
