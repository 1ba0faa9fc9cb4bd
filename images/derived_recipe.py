"""Derive a recipe from a project's pyproject.toml, Dockerfile and Procfile; write one as TOML."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomli_w
from packaging.utils import canonicalize_name

from images.application_recipe import KIND, ApplicationRecipe, parse_application_recipe
from images.toml_file import read_pyproject, read_toml
from mirror.core.codec import dump
from mirror.core.errors import InputError

_NOT_PACKAGES = {"tests", "test", "docs", "examples", "scripts", "build", "dist", "benchmarks"}
_COMPILERS = {"build-essential", "gcc", "g++", "make", "git", "cmake", "pkg-config", "python3-dev"}


def derive_recipe(folder: Path, name: str | None = None) -> ApplicationRecipe:
    """Return a recipe for a project. Raises InputError if there is no pyproject.toml."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        raise InputError(
            f"no pyproject.toml in {folder}",
            why="the name and the start command of the project are unknown",
            next_step="give the folder of a project, or a recipe: build-image --list",
        )
    project = read_toml(path).get("project", {})
    document: dict[str, Any] = {
        "name": name or _to_image_name(str(project.get("name") or folder.name)),
        "title": str(project.get("description", ""))[:200],
        **_read_dockerfile(folder / "Dockerfile"),
    }
    if starts := list(_read_procfile(folder / "Procfile")):
        document["starts"] = starts
    return parse_application_recipe(document, path)


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
    """Whether uv would install the project itself: tool.uv.package, else a build system."""
    document = read_pyproject(folder)
    package = document.get("tool", {}).get("uv", {}).get("package")
    return bool(package) if package is not None else "build-system" in document


def _to_image_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", canonicalize_name(name)).strip("-") or "application"


def _read_dockerfile(path: Path) -> dict[str, Any]:
    """Return the parts of a Dockerfile that a recipe can express; ignore the others."""
    if not path.is_file():
        return {}
    text = re.sub(r"\\\n", " ", path.read_text(errors="replace"))
    packages: list[str] = []
    port, command = 0, None
    environment: dict[str, str] = {}
    for line in text.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        match instruction.upper():
            case "EXPOSE" if rest.split("/")[0].isdigit():
                port = int(rest.split("/")[0])
            case "CMD" | "ENTRYPOINT":
                command = _parse_command(rest) or command
            case "RUN" if "apt-get" in rest:
                packages += _find_apt_packages(rest)
            case "ENV":
                environment |= re.findall(r"([A-Za-z_][A-Za-z0-9_]*)=([^\s\"']+)", rest)
    document: dict[str, Any] = {
        "build_packages": [name for name in packages if name in _COMPILERS],
        "run_packages": [name for name in packages if name not in _COMPILERS],
        "environment": {
            key: value
            for key, value in environment.items()
            if not key.startswith(("UV_", "PATH", "PIP_")) and "$" not in value
        },
    }
    if command:
        document["starts"] = [{"name": "main", "argv": command, "port": port, "seconds": 10.0}]
        options = pairwise(command)
        document["extras"] = [extra for option, extra in options if option == "--extra"]
    return document


def _find_apt_packages(command: str) -> Iterator[str]:
    """Yield the packages that a shell command installs with apt-get."""
    for part in re.split(r"&&|;", command):
        words = part.split()
        if "apt-get" in words and "install" in words:
            for word in words[words.index("install") + 1 :]:
                if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word):
                    yield word


def _parse_command(text: str) -> list[str] | None:
    """Return the argv of a command in exec or shell form, None if it cannot be parsed."""
    text = text.strip()
    try:
        if text.startswith("["):
            return [str(word) for word in json.loads(text)]
        return shlex.split(text)
    except ValueError:
        return None


def _read_procfile(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the commands of a Procfile as tables of ``starts``."""
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            name, colon, command = line.partition(":")
            argv = _parse_command(command)
            if colon and argv and not name.startswith("#"):
                yield {"name": name.strip(), "argv": argv, "seconds": 10.0}
