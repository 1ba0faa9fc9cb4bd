"""Choose the build backends: the pinned ones, unless the project asks for other versions."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from images.recipes import RECIPES
from images.toml_file import read_pyproject
from images.uv import find_uv, uv_environment
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

PINNED_BACKENDS = "build-backends.txt"
_BLOCK = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)==([^ ;\\\n]+)[^\n]*(?:\n[ \t]+[^\n]*)*\n?")


def read_pinned_backends() -> str:
    """Return the backends that this program pins, as a requirements file with hashes."""
    return (RECIPES / PINNED_BACKENDS).read_text()


def list_build_constraints(folder: Path) -> list[str]:
    """Return what a project says about the backends of everything that is built for it (uv)."""
    table = read_pyproject(folder).get("tool", {}).get("uv", {})
    return [
        line for line in table.get("build-constraint-dependencies", []) if isinstance(line, str)
    ]


def list_build_requirements(folder: Path) -> list[str]:
    """Return what the build of a project itself needs."""
    requires = read_pyproject(folder).get("build-system", {}).get("requires", [])
    return [line for line in requires if isinstance(line, str)]


def choose_backends(
    pinned: str, constraints: Sequence[str], requires: Sequence[str], index: str, deadline: Deadline
) -> str:
    """Return pins (a requirements file with hashes) that satisfy what a project says.

    ``pinned`` is kept where it does. ``constraints`` only limit versions, ``requires`` also ask for
    backends that are not pinned. Other versions come from ``index``. Raises InputError if it has
    none that fits.
    """
    versions: dict[str, list[Version]] = {}
    for name, version in _BLOCK.findall(pinned):
        versions.setdefault(canonicalize_name(name), []).append(Version(version))
    wanted: dict[str, list[str]] = {}
    for line in (*constraints, *requires):
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # the build says so itself
        name = canonicalize_name(requirement.name)
        known = versions.get(name, [])
        fits = all(requirement.specifier.contains(v, prereleases=True) for v in known)
        if (known and not fits) or (not known and line in requires):
            wanted.setdefault(name, []).append(line)
    if not wanted:
        return pinned
    for name in wanted:  # everything that is said about a backend counts
        wanted[name] = [line for line in (*constraints, *requires) if _name_of(line) == name]
    others = _remove(pinned, wanted)
    lines = [line for several in wanted.values() for line in several]
    return _merge(others, _resolve(lines, others, index, deadline))


def _name_of(line: str) -> str:
    try:
        return canonicalize_name(Requirement(line).name)
    except InvalidRequirement:
        return ""


def _remove(pinned: str, names: Iterable[str]) -> str:
    dropped = set(names)
    return _BLOCK.sub(lambda m: "" if canonicalize_name(m[1]) in dropped else m[0], pinned)


def _list_versions(pinned: str) -> list[str]:
    """Return the pins without their hashes."""
    return [match[0].partition("\n")[0].rstrip(" \\") for match in _BLOCK.finditer(pinned)]


def _merge(pinned: str, resolved: str) -> str:
    """Return both; what was resolved replaces pins of the same names."""
    names = {canonicalize_name(name) for name, _ in _BLOCK.findall(resolved)}
    return _remove(pinned, names).rstrip("\n") + "\n" + resolved


def _resolve(lines: Sequence[str], pinned: str, index: str, deadline: Deadline) -> str:
    """Return pins of requirements and of what they need; of ``pinned`` where possible."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="pypi-mirror-") as file:
        file.write("".join(f"{line}\n" for line in _list_versions(pinned)))
        file.flush()
        options = (
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--universal",
            "--no-config",
        )
        argv = (find_uv(), "pip", "compile", *options, "--default-index", index, "-")
        text = "".join(f"{line}\n" for line in lines).encode()
        for more in (("--constraints", file.name), ()):
            try:
                return run(
                    (*argv, *more), input=text, env=uv_environment(), deadline=deadline.within(120)
                ).out
            except ProgramError as error:
                failure = error
    raise InputError(
        f"no build backend fits what the project asks for: {', '.join(lines)}",
        why=failure.why,
        next_step="correct build-system.requires or build-constraint-dependencies",
    )
