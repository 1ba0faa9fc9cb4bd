"""Change values of a recipe by assignments in TOML: `build-image --set`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from images.application_recipe import ApplicationRecipe, parse_application_recipe
from mirror.core.codec import dump
from mirror.core.errors import InputError


def change_recipe(recipe: ApplicationRecipe, assignments: Sequence[str]) -> ApplicationRecipe:
    """Return a recipe with KEY=VALUE assignments applied, in order.

    Lists and tables are added to ("-name" removes an item, [] all), other values replaced.
    ``starts.NAME.KEY`` changes the start command of that name. Raises InputError for an assignment
    that is no TOML, or does not fit.
    """
    if not assignments:
        return recipe
    document: dict[str, Any] = dump(recipe)
    for assignment in assignments:
        _merge(document, _parse(assignment), assignment)
    return parse_application_recipe(document, Path("--set"))


def _parse(assignment: str) -> dict[str, Any]:
    try:
        return tomllib.loads(assignment)
    except tomllib.TOMLDecodeError as error:
        # a bare word is a text: --set base=debian-python:1
        key, equals, value = assignment.partition("=")
        if equals and value and not value.startswith(('"', "'", "[", "{")):
            try:
                return tomllib.loads(f"{key}={_quote(value)}")
            except tomllib.TOMLDecodeError:
                pass
        raise InputError(
            f"not KEY=VALUE in TOML: {assignment!r}",
            why=str(error),
            next_step="quote it for the shell: --set 'run_packages=[\"libpq5\"]'",
        ) from error


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _merge(document: dict[str, Any], change: Mapping[str, Any], assignment: str) -> None:
    for key, value in change.items():
        known = document.get(key)
        if key == "starts" and isinstance(value, Mapping):
            _merge_starts(document["starts"], value, assignment)
        elif isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value, assignment)
        elif isinstance(known, list) and isinstance(value, list):
            document[key] = _change_list(known, value)
        else:
            document[key] = value


def _change_list(known: list[Any], value: list[Any]) -> list[Any]:
    """Add to a list; "-name" removes an item, and an empty list removes all."""
    removed = {item[1:] for item in value if isinstance(item, str) and item.startswith("-")}
    added = [item for item in value if not (isinstance(item, str) and item.startswith("-"))]
    kept = [item for item in known if not (isinstance(item, str) and item in removed)]
    return kept + [item for item in added if item not in kept] if value else []


def _merge_starts(starts: list[dict[str, Any]], change: Mapping[str, Any], assignment: str) -> None:
    for name, values in change.items():
        start = next((known for known in starts if known["name"] == name), None)
        if not isinstance(values, Mapping):
            raise InputError(
                f"not an assignment of a start command: {assignment!r}",
                why="it names no key of the start command",
                next_step=f'--set \'starts.{name}.argv=["python3", "-m", "app"]\'',
            )
        if start is None:
            start = {"name": name}
            starts.append(start)
        argv = values.get("argv")
        _merge(start, {key: item for key, item in values.items() if key != "argv"}, assignment)
        if argv is not None:
            start["argv"] = argv  # a command is replaced, not continued
