"""The recipe of an application's image: a TOML file, or what a project itself says (derive.py)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from images.mirror_recipe import RECIPES
from mirror.core.errors import InputError

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*\Z")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9]+)?\Z")
_HOST = re.compile(r"[A-Za-z0-9._:*-]+\Z")
_LARGEST = 1 << 20  # bytes of a TOML file or a lock that are read at all
KIND = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCommand:
    """A command that the image must be able to start with no network.

    It is well when ``health`` on ``port`` answers or when it asks for one of ``services``; a
    command with neither must live for ``seconds`` or end with 0.
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
    """All that is decided about an image before its source and its lock are read."""

    name: str
    base: str = "python:3.12-slim-bookworm"
    title: str = ""
    subdirectory: str = ""  # of the source, where the project stands in it
    build_packages: tuple[str, ...] = ()
    run_packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    editable: bool = True
    folder: str = "/app"
    user: str = "app"
    user_id: int = 10001
    writable: tuple[str, ...] = ()  # folders in ``folder`` that are the user's
    environment: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()  # packages whose every module is imported; () is all of its own
    import_failures: Mapping[str, str] = field(default_factory=dict)  # module → reason
    checks: tuple[tuple[str, ...], ...] = ()  # argv that must end with 0, without a network
    expected_hosts: tuple[str, ...] = ()  # that the application itself may look up
    proof_environment: Mapping[str, str] = field(default_factory=dict)  # in the proof alone
    proof_files: Mapping[str, str] = field(default_factory=dict)  # path below folder → text
    starts: tuple[StartCommand, ...] = ()


def list_recipe_names() -> tuple[str, ...]:
    """The recipes that come with the program, the mirror's own among them."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))


def is_application_recipe(name: str) -> bool:
    return bool(tomllib.loads((RECIPES / f"{name}.toml").read_text()).get("kind") == KIND)


def load_application_recipe(path: Path) -> ApplicationRecipe:
    """Read a recipe file. InputError, with the key, for what is not one."""
    told = read_toml(path)
    if told.pop("kind", KIND) != KIND:
        raise _bad(path, "kind is not 'application'")
    return parse_application_recipe(told, path)


def parse_application_recipe(told: Mapping[str, Any], path: Path) -> ApplicationRecipe:
    """From the tables of a recipe; ``path`` is for messages."""
    rest = dict(told)
    starts = tuple(
        _typed(StartCommand, one, path, "starts.") for one in _tables(rest, "starts", path)
    )
    recipe: ApplicationRecipe = _typed(ApplicationRecipe, {**rest, "starts": starts}, path, "")
    _check(recipe, path)
    return recipe


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of sane size. InputError names the file and the place in it."""
    try:
        if path.stat().st_size > _LARGEST * 64:
            raise _bad(path, "it is larger than 64 MB")
        return tomllib.loads(path.read_text())
    except OSError as broken:
        raise _bad(path, broken.strerror or str(broken)) from broken
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as broken:
        raise _bad(path, f"not TOML: {broken}"[:300]) from broken


def _bad(path: Path, why: str) -> InputError:
    return InputError(
        f"cannot use {path}", why=why, next_step="mend the file; docs/recipes.md has every key"
    )


def _tables(told: dict[str, Any], key: str, path: Path) -> list[Mapping[str, Any]]:
    found = told.pop(key, [])
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _bad(path, f"{key} is not an array of tables ([[{key}]])")
    return found


def _typed(kind: type[Any], told: Mapping[str, Any], path: Path, prefix: str) -> Any:
    """A dataclass from a table: every key known, of its type, none missing."""
    known = {one.name: one for one in fields(kind)}
    words = {}
    for key, value in told.items():
        if key not in known:
            raise _bad(path, f"no key is called {prefix}{key}; there are: {', '.join(known)}")
        words[key] = _value(str(known[key].type), value, path, prefix + key)
    for name, one in known.items():
        empty = one.default is MISSING and one.default_factory is MISSING
        if empty and name not in words:
            raise _bad(path, f"{prefix}{name} is missing")
    return kind(**words)


def _value(kind: str, value: Any, path: Path, key: str) -> Any:
    def strings(one: Any) -> bool:
        return isinstance(one, list | tuple) and all(isinstance(word, str) for word in one)

    if kind == "tuple[str, ...]" and strings(value):
        return tuple(value)
    if kind == "tuple[tuple[str, ...], ...]" and isinstance(value, list):
        if all(strings(one) and one for one in value):
            return tuple(tuple(one) for one in value)
    elif kind == "Mapping[str, str]" and isinstance(value, Mapping):
        if all(isinstance(one, str) for one in value.values()):
            return dict(value)
    elif kind == "tuple[StartCommand, ...]":
        return value
    elif (kind == "bool") == isinstance(value, bool):
        plain = {"str": str, "int": int, "bool": bool, "float": int | float}.get(kind)
        if plain and isinstance(value, plain):
            return value
    raise _bad(path, f"{key} is not a {kind.replace('Mapping[str, str]', 'table of strings')}")


def _check(recipe: ApplicationRecipe, path: Path) -> None:
    """Names that go into a Dockerfile, a tag or a package manager are plain words."""

    def hold(good: bool, key: str, value: object) -> None:
        if not good:
            raise _bad(path, f"{key}: {value!r} is refused")

    hold(bool(_NAME.match(recipe.name)), "name", recipe.name)
    hold(not re.search(r"[\s\"'\\$]", recipe.base) and bool(recipe.base), "base", recipe.base)
    hold(0 < recipe.user_id < 2**31, "user_id", recipe.user_id)
    hold(bool(re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", recipe.user)), "user", recipe.user)
    hold(bool(re.fullmatch(r"(/[A-Za-z0-9._-]+)+", recipe.folder)), "folder", recipe.folder)
    for one in (*recipe.build_packages, *recipe.run_packages):
        hold(bool(_PACKAGE.match(one)), "packages", one)
    for one in (*recipe.extras, *recipe.groups):
        hold(bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", one)), "extras", one)
    for one in (*recipe.writable, *recipe.proof_files):
        plain = bool(re.fullmatch(r"[A-Za-z0-9._/-]+", one)) and ".." not in Path(one).parts
        hold(plain and not one.startswith("/"), "writable", one)
    for one in (recipe.subdirectory,):
        hold(".." not in Path(one).parts and not one.startswith("/"), "subdirectory", one)
    for key, value in (*recipe.environment.items(), *recipe.proof_environment.items()):
        plain = bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)) and value.isprintable()
        hold(plain, "environment", f"{key}={value}")
    hosts = [host for start in recipe.starts for host in start.services]
    for one in (*recipe.expected_hosts, *hosts):
        hold(bool(_HOST.match(one)), "expected_hosts", one)
    for start in recipe.starts:
        hold(bool(start.argv), f"starts.{start.name}.argv", start.argv)
        hold(not start.health or 0 < start.port < 65536, f"starts.{start.name}.port", start.port)
        hold(not start.health or start.health.startswith("/"), "health", start.health)
