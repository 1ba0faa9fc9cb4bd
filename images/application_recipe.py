"""The recipe of an application's image: a TOML file, or derived from a project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from images.toml_file import file_error, read_toml
from mirror.core.codec import DecodeError, load
from mirror.core.errors import InputError

KIND = "application"  # value of the key ``kind`` in such a file
_ALLOWED = {  # key → pattern of its values
    "name": r"[a-z0-9]+([._-][a-z0-9]+)*",
    "base": r"[^\s\"'\\$]+",
    "user": r"[a-z_][a-z0-9_-]{0,30}",
    "folder": r"(/[A-Za-z0-9._-]+)+",
    "packages": r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9]+)?",
    "extras": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "writable": r"[A-Za-z0-9._/-]+",
    "environment": r"[A-Za-z_][A-Za-z0-9_]*",
    "expected_hosts": r"[A-Za-z0-9._:*-]+",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCommand:
    """A command that must start without a network.

    It must listen on ``port`` and answer ``health`` within ``seconds``, or ask for one of
    ``services``. A command with neither only has to run; docs/proof.md has the results.
    """

    name: str
    argv: tuple[str, ...]
    port: int = 0
    health: str = ""
    services: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRecipe:
    """How to build an application's image and what to prove about it. docs/recipes.md has details.

    The field names are the keys of the TOML file.
    """

    name: str
    base: str = "python:3.12-slim-bookworm"
    title: str = ""
    subdirectory: str = ""  # of the source, if the project is not at its root
    package: str = ""  # the member of a uv workspace; empty for the one at the source's folder
    lock: str = ""  # the lock in the project's folder; empty for the first one with a usual name
    build_packages: tuple[str, ...] = ()
    run_packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    install_project: bool = True  # if it has a build system; its source is in the image anyway
    editable: bool = True
    folder: str = "/app"
    workdir: str = ""  # where it starts, below ``folder``
    user: str = "app"
    user_id: int = 10001
    writable: tuple[str, ...] = ()  # folders below ``folder`` that the user owns
    environment: Mapping[str, str] = field(default_factory=dict)
    # programs of the project that make files, run in the sandbox after it is installed
    build_steps: tuple[tuple[str, ...], ...] = ()
    build_constraints: tuple[str, ...] = ()  # limits of the build backends' versions
    build_environment: Mapping[str, str] = field(default_factory=dict)  # only while it is built
    imports: tuple[str, ...] = ()  # packages to import; empty for the project's own packages
    import_failures: Mapping[str, str] = field(default_factory=dict)  # module → reason
    checks: tuple[tuple[str, ...], ...] = ()  # programs that must exit with 0 without a network
    expected_hosts: tuple[str, ...] = ()  # patterns of hosts that the application may look up
    proof_environment: Mapping[str, str] = field(default_factory=dict)  # only in the proof
    proof_files: Mapping[str, str] = field(default_factory=dict)  # path below ``folder`` → text
    proof_templates: Mapping[str, str] = field(default_factory=dict)  # path → template
    starts: tuple[StartCommand, ...] = ()


def load_application_recipe(path: Path) -> ApplicationRecipe:
    """Read a recipe file. Raises InputError with the wrong key."""
    document = read_toml(path)
    if document.pop("kind", KIND) != KIND:
        raise _recipe_error(path, "kind is not 'application'")
    return parse_application_recipe(document, path)


def parse_application_recipe(document: Mapping[str, Any], path: Path) -> ApplicationRecipe:
    """Return the recipe in a TOML document. ``path`` is for error messages."""
    try:
        recipe = load(ApplicationRecipe, document, "recipe")
    except DecodeError as error:
        raise _recipe_error(path, str(error)) from error
    for key, value in _find_invalid(recipe):
        raise _recipe_error(path, f"{key}: {value!r} is not allowed")
    return recipe


def _recipe_error(path: Path, why: str) -> InputError:
    return file_error(path, why, "correct the file; docs/recipes.md has every key")


def _find_invalid(recipe: ApplicationRecipe) -> Iterator[tuple[str, object]]:
    """Yield key and value that a Dockerfile, a tag or a package manager could misread."""
    places = (*recipe.writable, *recipe.proof_files, *recipe.proof_templates)
    # a template may be elsewhere in the source, above the project
    above = rf"(\.\./){{0,{len(Path(recipe.subdirectory).parts)}}}"
    templates = [re.sub(f"^{above}", "", path) for path in recipe.proof_templates.values()]
    environment = (
        *recipe.environment.items(),
        *recipe.build_environment.items(),
        *recipe.proof_environment.items(),
    )
    services = (host for start in recipe.starts for host in start.services)
    values = {
        "name": (recipe.name,),
        "base": (recipe.base,),
        "user": (recipe.user,),
        "folder": (recipe.folder,),
        "packages": (*recipe.build_packages, *recipe.run_packages),
        "extras": (*recipe.extras, *recipe.groups, *filter(None, [recipe.package])),
        "writable": (*places, *templates, *filter(None, [recipe.workdir])),
        "environment": (variable for variable, _ in environment),
        "expected_hosts": (*recipe.expected_hosts, *services),
    }
    for key, texts in values.items():
        yield from ((key, text) for text in texts if not re.fullmatch(_ALLOWED[key], text))
    for place in (*places, *templates, recipe.subdirectory, recipe.workdir, recipe.lock):
        if place.startswith("/") or ".." in Path(place).parts:
            yield "writable, workdir, lock or subdirectory", place
    for step in recipe.build_steps:
        if not step or not all(word.isprintable() for word in step):
            yield "build_steps", step
    for variable, text in environment:
        if not text.isprintable():
            yield "environment", f"{variable}={text}"
    if not 0 < recipe.user_id < 2**31:
        yield "user_id", recipe.user_id
    for start in recipe.starts:
        if not start.argv:
            yield f"starts.{start.name}.argv", start.argv
        if start.health and not 0 < start.port < 65536:
            yield f"starts.{start.name}.port", start.port
        if start.health and not start.health.startswith("/"):
            yield "health", start.health
