"""The locks that an image can be built from; each module is one tool's.

A module has ``KIND``, a `LockKind`: its file names, and how it is read. ``KINDS`` in kinds.py is
the order in which they are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mirror.core.wait import Deadline
from mirror.lock import LockFile


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedProject:
    """A project and what is installed of it.

    ``root`` is the folder of the source, ``folder`` that of the project: a member of the workspace
    at ``root``, or the same. ``vendored`` are the names that the user gives another source for.
    ``base`` is the base image.
    """

    root: Path
    folder: Path
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    deadline: Deadline
    vendored: frozenset[str] = frozenset()
    base: str = ""

    @property
    def places(self) -> tuple[Path, ...]:
        """Where a lock may be: the project's folder, then the root of its workspace."""
        return tuple(dict.fromkeys((self.folder, self.root)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockKind:
    """A tool's lock. ``find`` yields the files of a project that may be one, best first."""

    tool: str
    find: Callable[[LockedProject], Iterator[Path]]
    read: Callable[[LockedProject, Path], LockFile]


def find_named(*names: str) -> Callable[[LockedProject], Iterator[Path]]:
    """Return a finder of files with one of these names in the project's places."""

    def find(project: LockedProject) -> Iterator[Path]:
        for place in project.places:
            yield from (place / name for name in names if (place / name).is_file())

    return find
