"""The recipe of an application's image: a TOML file, or derived from a project."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from images.recipes import RECIPES
from images.toml_file import file_error, read_toml
from mirror.core.codec import DecodeError, load
from mirror.core.errors import InputError

KIND = "application"  # value of the key ``kind`` in such a file
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*\Z")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9]+)?\Z")
_HOST = re.compile(r"[A-Za-z0-9._:*-]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCommand:
    """A command that must start without a network.

    It has started when ``health`` on ``port`` answers, or when it looks up one of ``services``. A
    command with neither must run for ``seconds`` or exit with 0.
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
    build_packages: tuple[str, ...] = ()
    run_packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    editable: bool = True
    folder: str = "/app"
    user: str = "app"
    user_id: int = 10001
    writable: tuple[str, ...] = ()  # folders below ``folder`` that the user owns
    environment: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()  # packages to import; empty for the project's own packages
    import_failures: Mapping[str, str] = field(default_factory=dict)  # module → reason
    checks: tuple[tuple[str, ...], ...] = ()  # programs that must exit with 0 without a network
    expected_hosts: tuple[str, ...] = ()  # patterns of hosts that the application may look up
    proof_environment: Mapping[str, str] = field(default_factory=dict)  # only in the proof
    proof_files: Mapping[str, str] = field(default_factory=dict)  # path below ``folder`` → text
    starts: tuple[StartCommand, ...] = ()


def is_application_recipe(name: str) -> bool:
    """Whether one of our own recipes is an application's, not the mirror's."""
    return bool(read_toml(RECIPES / f"{name}.toml").get("kind") == KIND)


def load_application_recipe(path: Path) -> ApplicationRecipe:
    """Read a recipe file. Raises InputError with the wrong key."""
    document = read_toml(path)
    if document.pop("kind", KIND) != KIND:
        raise _recipe_error(path, "kind is not 'application'")
    return parse_application_recipe(document, path)


def parse_application_recipe(document: Mapping[str, Any], path: Path) -> ApplicationRecipe:
    """Return the recipe in a TOML document. ``path`` is for error messages."""
    document = dict(document)
    tables = document.pop("starts", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise _recipe_error(path, "starts is not an array of tables ([[starts]])")
    starts = tuple(
        StartCommand(**_load_fields(StartCommand, table, path, "starts.")) for table in tables
    )
    recipe = ApplicationRecipe(**_load_fields(ApplicationRecipe, document, path, ""), starts=starts)
    _check_values(recipe, path)
    return recipe


def _recipe_error(path: Path, why: str) -> InputError:
    return file_error(path, why, "correct the file; docs/recipes.md has every key")


def _load_fields(
    kind: type[Any], table: Mapping[str, Any], path: Path, prefix: str
) -> dict[str, Any]:
    """Return a table as arguments of a dataclass: known keys, right types, none missing."""
    hints = get_type_hints(kind)
    for known in fields(kind):
        is_required = known.default is MISSING and known.default_factory is MISSING
        if is_required and known.name not in table:
            raise _recipe_error(path, f"{prefix}{known.name} is missing")
    arguments = {}
    for key, value in table.items():
        if key not in hints:
            raise _recipe_error(path, f"unknown key {prefix}{key}; known: {', '.join(hints)}")
        try:
            arguments[key] = load(hints[key], value, prefix + key)
        except DecodeError as error:
            expected = next(str(known.type) for known in fields(kind) if known.name == key)
            raise _recipe_error(path, f"{error}, not {expected}") from error
    return arguments


def _check_values(recipe: ApplicationRecipe, path: Path) -> None:
    """Refuse values that a Dockerfile, a tag or a package manager could misread."""

    def require(is_valid: bool, key: str, value: object) -> None:
        if not is_valid:
            raise _recipe_error(path, f"{key}: {value!r} is not allowed")

    def matches(pattern: str, value: str) -> bool:
        return bool(re.fullmatch(pattern, value))

    def is_inside(value: str) -> bool:
        return ".." not in Path(value).parts and not value.startswith("/")

    require(bool(_NAME.match(recipe.name)), "name", recipe.name)
    require(matches(r"[^\s\"'\\$]+", recipe.base), "base", recipe.base)
    require(0 < recipe.user_id < 2**31, "user_id", recipe.user_id)
    require(matches(r"[a-z_][a-z0-9_-]{0,30}", recipe.user), "user", recipe.user)
    require(matches(r"(/[A-Za-z0-9._-]+)+", recipe.folder), "folder", recipe.folder)
    for package in (*recipe.build_packages, *recipe.run_packages):
        require(bool(_PACKAGE.match(package)), "packages", package)
    for name in (*recipe.extras, *recipe.groups):
        require(matches(r"[A-Za-z0-9][A-Za-z0-9._-]*", name), "extras", name)
    for place in (*recipe.writable, *recipe.proof_files):
        is_plain = matches(r"[A-Za-z0-9._/-]+", place)
        require(is_plain and is_inside(place), "writable", place)
    require(is_inside(recipe.subdirectory), "subdirectory", recipe.subdirectory)
    for key, value in (*recipe.environment.items(), *recipe.proof_environment.items()):
        is_plain = matches(r"[A-Za-z_][A-Za-z0-9_]*", key) and value.isprintable()
        require(is_plain, "environment", f"{key}={value}")
    services = [host for start in recipe.starts for host in start.services]
    for host in (*recipe.expected_hosts, *services):
        require(bool(_HOST.match(host)), "expected_hosts", host)
    for start in recipe.starts:
        require(bool(start.argv), f"starts.{start.name}.argv", start.argv)
        if start.health:
            require(0 < start.port < 65536, f"starts.{start.name}.port", start.port)
            require(start.health.startswith("/"), "health", start.health)
