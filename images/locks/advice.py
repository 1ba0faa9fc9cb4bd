"""Which command makes a lock for a project that has none, by the tool that it uses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from images.locks import LockedProject
from images.project.dockerfile_search import find_dockerfile, find_repository
from images.project.python_version import (
    DEFAULT_VERSION,
    choose_version,
    read_image_statement,
    read_statements,
)
from images.project.reading import Line
from images.project.run_steps import read_runs
from images.toml_file import read_pyproject
from images.uv import name_uv


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
            return f"make one there: {name_uv()} lock --directory {shlex.quote(str(project.root))}"
    source = requirements or next(_list_sources(folder), None)
    if source is None:
        return (
            "list the packages in a pyproject.toml, and make a lock: "
            f"{name_uv()} init && {name_uv()} lock"
        )
    statements = [*read_statements(folder, read_pyproject(folder))]
    if base := read_image_statement(project.base, Line(file="base")):
        statements = [item for item in statements if not item.is_choice] + [base]
    version = choose_version(statements) or DEFAULT_VERSION
    output = shlex.quote(str(folder / "pylock.toml"))
    sources, before, also = shlex.quote(str(source)), "", ""
    if named := _list_named(project, source):
        before = f"printf '%s\\n' {shlex.join(named)} | "
        sources += " -"
        also = f" and what the Dockerfile installs ({', '.join(named)})"
    return (
        f"make a lock from {source.name}{also}: {before}{name_uv()} pip compile "
        f"--universal --python-version {version} {sources} -o {output}"
    )


def _list_named(project: LockedProject, source: Path) -> list[str]:
    """Return what the Dockerfile installs by name, and no line of a file has."""
    root = project.root.resolve()
    folder = root / project.folder.resolve().relative_to(root)
    found = find_dockerfile(folder, find_repository(root), {}).found
    if found is None:
        return []
    used = {found.stage.name, *found.stage.stages_used}
    runs = [run for stage in found.stages if stage.name in used for run in stage.runs]
    text = source.read_text(errors="replace")
    listed = {canonicalize_name(name) for name in re.findall(r"(?m)^\s*([A-Za-z0-9][\w.-]*)", text)}
    named = dict.fromkeys(read_runs(runs).named)
    return [
        word for word in named if canonicalize_name(re.split(r"[\[=<>~!]", word)[0]) not in listed
    ]


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
