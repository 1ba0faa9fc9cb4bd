"""Find out whether a uv.lock is out of date, without a resolver or a network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mirror.core.errors import InputError


def find_drift(project: Mapping[str, Any], lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield each requirement of a pyproject.toml that its uv.lock was not made for, and vice versa.

    uv records the requirements that it has locked in `package.metadata.requires-dist`. The
    comparison is by name, extra and specifier; a requirement with a source has no specifier there.
    What a build backend fills in (`dynamic`) is in no pyproject.toml, and not compared.
    Raises TypeError, KeyError, AttributeError or ValueError if one of the documents is malformed.
    """
    table = project.get("project", {})
    name = canonicalize_name(str(table.get("name", "")))
    packages = lock.get("package", [])
    root = next((entry for entry in packages if canonicalize_name(entry["name"]) == name), None)
    if root is None:
        if name:
            yield f"the project {name} itself"
        return
    dynamic = set(table.get("dynamic", []))
    by_extra = {"": table.get("dependencies", []), **table.get("optional-dependencies", {})}
    requirements: list[tuple[Requirement, str]] = [
        (_parse_requirement(line), canonicalize_name(extra))
        for extra, lines in by_extra.items()
        for line in lines
    ]
    required = {
        (canonicalize_name(requirement.name), str(requirement.specifier), extra)
        for requirement, extra in requirements
    }
    locked = set()
    for entry in root.get("metadata", {}).get("requires-dist", []):
        match = re.search(r"extra == '([^']+)'", entry.get("marker", ""))
        specifier = str(SpecifierSet(entry.get("specifier", "")))
        locked.add((canonicalize_name(entry["name"]), specifier, match[1] if match else ""))
    if "dependencies" in dynamic:
        locked = {entry for entry in locked if entry[2]}
    if "optional-dependencies" in dynamic:
        locked = {entry for entry in locked if not entry[2]}
    sources = project.get("tool", {}).get("uv", {}).get("sources", {})
    direct = (requirement.name for requirement, _ in requirements if requirement.url)
    with_source = {canonicalize_name(source) for source in (*sources, *direct)}
    locked_names = {(name, extra) for name, _, extra in locked}
    for required_name, specifier, extra in sorted(required - locked):
        if required_name in with_source and (required_name, extra) in locked_names:
            continue
        yield f"{required_name}{specifier}" + (f" (extra {extra})" if extra else "")
    required_names = {(name, extra) for name, _, extra in required}
    for locked_name, _, extra in sorted(locked):
        if (locked_name, extra) not in required_names:
            yield f"no longer {locked_name}"


def _parse_requirement(line: str) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise InputError(
            f"not a requirement in pyproject.toml: {line[:80]!r}",
            why=str(error).splitlines()[0],
            next_step="correct it, and lock again: uv lock",
        ) from error
