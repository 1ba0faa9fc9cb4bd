"""Which command makes a lock for a project that has none, by the tool that it uses."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from images.locks import LockedProject
from images.project.python_version import (
    DEFAULT_VERSION,
    choose_version,
    read_image_statement,
    read_statements,
)
from images.project.reading import Line
from images.toml_file import read_pyproject


def advise_lock(project: LockedProject, requirements: Path | None) -> str:
    """Return the command that makes a lock. ``requirements`` is a file without hashes."""
    folder = project.folder
    tool = read_pyproject(folder).get("tool", {})
    place = shlex.quote(str(folder))
    if requirements is None or requirements.suffix != ".txt":
        if "poetry" in tool or (folder / "poetry.lock").is_file():
            return f"make one with Poetry: poetry lock --directory {place}"
        if "pdm" in tool or (folder / "pdm.lock").is_file():
            return f"make one with PDM: pdm lock --project {place}"
        if (folder / "Pipfile").is_file():
            return f"make one with Pipenv: cd {place} && pipenv lock"
        if "project" in read_pyproject(folder):
            return f"make one there: uv lock --directory {shlex.quote(str(project.root))}"
    source = requirements or next(_list_sources(folder), None)
    if source is None:
        return "list the packages in a pyproject.toml, and make a lock: uv init && uv lock"
    statements = [*read_statements(folder, read_pyproject(folder))]
    if base := read_image_statement(project.base, Line(file="base")):
        statements.append(base)
    version = choose_version(statements) or DEFAULT_VERSION
    output = shlex.quote(str(folder / "pylock.toml"))
    return (
        f"make a lock from {source.name}: uv pip compile --universal --python-version {version} "
        f"{shlex.quote(str(source))} -o {output}"
    )


def _list_sources(folder: Path) -> Iterator[Path]:
    """Yield the files that name a project's packages without hashes."""
    names = ("requirements.in", "requirements.txt", "requirements/production.txt")
    others = ("requirements/prod.txt", "requirements/base.txt", "requirements/base.in")
    for name in (*names, *others, "setup.py", "setup.cfg", "pyproject.toml"):
        if (folder / name).is_file():
            yield folder / name
    yield from sorted(folder.glob("*requirements*.txt"))


def list_dependencies(folder: Path) -> list[str]:
    """Return what a project's pyproject.toml says that it needs."""
    document = read_pyproject(folder)
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
    names = [name for name in poetry if name != "python"]
    return [*map(str, document.get("project", {}).get("dependencies", [])), *names]
