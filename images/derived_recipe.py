"""A recipe out of what a project says: pyproject.toml, its Dockerfile, its Procfile."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from images.application_recipe import ApplicationRecipe, parse_application_recipe, read_toml
from mirror.core.errors import InputError

_NOT_PACKAGES = {"tests", "test", "docs", "examples", "scripts", "build", "dist", "benchmarks"}
_COMPILERS = {"build-essential", "gcc", "g++", "make", "git", "cmake", "pkg-config", "python3-dev"}


def derive_recipe(folder: Path, name: str | None = None) -> ApplicationRecipe:
    """The recipe of any project with a pyproject.toml. InputError where there is none."""
    if not (folder / "pyproject.toml").is_file():
        raise InputError(
            f"no pyproject.toml in {folder}",
            why="nothing says what the project is",
            next_step="give the folder of a project, or a recipe: build-image --list",
        )
    project = read_toml(folder / "pyproject.toml").get("project", {})
    told: dict[str, Any] = {"name": name or _tag(str(project.get("name") or folder.name))}
    told["title"] = str(project.get("description", ""))[:200]
    told |= _dockerfile(folder / "Dockerfile")
    if starts := list(_procfile(folder / "Procfile")):
        told["starts"] = starts
    return parse_application_recipe(told, folder / "pyproject.toml")


def render_recipe(recipe: ApplicationRecipe) -> str:
    """The recipe as its file would be; what is as it is by default is left out."""
    lines, tables = ['kind = "application"'], []
    for one in fields(recipe):
        value = getattr(recipe, one.name)
        if value == one.default or value in ((), {}):
            continue
        if isinstance(value, Mapping):
            pairs = (f"{json.dumps(key)} = {json.dumps(text)}" for key, text in value.items())
            tables.append("\n".join((f"\n[{one.name}]", *pairs)))
        elif one.name != "starts":
            lines.append(f"{one.name} = {json.dumps(value, ensure_ascii=False)}")
    for start in recipe.starts:
        given = {f.name: getattr(start, f.name) for f in fields(start)}
        environment = given.pop("environment")
        kept = {k: v for k, v in given.items() if v not in ("", 0, (), {})}
        tables.append(
            "\n[[starts]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in kept.items())
        )
        if environment:
            pairs = (f"{json.dumps(key)} = {json.dumps(text)}" for key, text in environment.items())
            tables.append("\n".join(("\n[starts.environment]", *pairs)))
    return "\n".join((*lines, *tables)) + "\n"


def find_packages(folder: Path, members: tuple[str, ...]) -> tuple[str, ...]:
    """The import names of a project's own packages, by the two layouts that there are."""
    found = []
    for member in (".", *members):
        root = folder / member
        for top in (root / "src", root):
            names = [
                one.parent.name
                for one in sorted(top.glob("*/__init__.py"))
                if one.parent.name not in _NOT_PACKAGES and one.parent.name.isidentifier()
            ]
            found += names
            if names:
                break
    return tuple(dict.fromkeys(found))


def is_installable(folder: Path) -> bool:
    """Whether uv would install the project itself: tool.uv.package, else a build system."""
    told = read_toml(folder / "pyproject.toml") if (folder / "pyproject.toml").exists() else {}
    said = told.get("tool", {}).get("uv", {}).get("package")
    return bool(said) if said is not None else "build-system" in told


def _tag(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", canonicalize_name(name)).strip("-") or "application"


def _dockerfile(path: Path) -> dict[str, Any]:
    """What the project's Dockerfile says that a recipe can hold; the rest of it is left."""
    if not path.is_file():
        return {}
    told: dict[str, Any] = {}
    text = re.sub(r"\\\n", " ", path.read_text(errors="replace"))
    packages: list[str] = []
    port, command = 0, None
    environment: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "EXPOSE" and rest.split("/")[0].isdigit():
            port = int(rest.split("/")[0])
        elif word.upper() in ("CMD", "ENTRYPOINT"):
            command = _argv(rest) or command
        elif word.upper() == "RUN" and "apt-get" in rest:
            for part in re.split(r"&&|;", rest):
                words = part.split()
                if "apt-get" in words and "install" in words:
                    after = words[words.index("install") + 1 :]
                    packages += [w for w in after if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", w)]
        elif word.upper() == "ENV":
            for one in re.findall(r"([A-Za-z_][A-Za-z0-9_]*)=([^\s\"']+)", rest):
                environment[one[0]] = one[1]
    told["build_packages"] = [one for one in packages if one in _COMPILERS]
    told["run_packages"] = [one for one in packages if one not in _COMPILERS]
    kept = {
        k: v
        for k, v in environment.items()
        if not k.startswith(("UV_", "PATH", "PIP_")) and "$" not in v
    }
    told["environment"] = kept
    if command:
        told["starts"] = [{"name": "main", "argv": command, "port": port, "seconds": 10.0}]
        extras = [command[i + 1] for i, w in enumerate(command[:-1]) if w == "--extra"]
        if extras:
            told["extras"] = extras
    return told


def _argv(text: str) -> list[str] | None:
    text = text.strip()
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            return None
        return [str(one) for one in words]
    try:
        return shlex.split(text)
    except ValueError:
        return None


def _procfile(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            name, colon, command = line.partition(":")
            words = _argv(command)
            if colon and words and not name.startswith("#"):
                yield {"name": name.strip(), "argv": words, "seconds": 10.0}
