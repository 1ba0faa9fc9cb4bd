"""Packages that a lock takes from another index than the rest: the mirror does not have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from packaging.utils import canonicalize_name

from images.locks import LockedProject
from images.toml_file import read_pyproject, read_toml
from mirror.core.errors import InputError
from mirror.lock import LockFile


def check_indexes(
    lock: LockFile, document: Mapping[str, Any], project: LockedProject, path: Path
) -> LockFile:
    """Return the lock. Raises InputError for packages of an index beside the usual one.

    The error has the --vendor options that give them. Names in ``project.vendored`` are given.
    """
    usual = find_usual_index(document, project, path.parent)
    pinned = {(pin.name, pin.version) for pin in lock.pins if not pin.origin}
    others: dict[str, list[Mapping[str, Any]]] = {}
    for package in document.get("package", []):
        registry = str(package.get("source", {}).get("registry", ""))
        key = (str(canonicalize_name(package["name"])), str(package.get("version", "")))
        if registry and registry != usual and key in pinned and key[0] not in project.vendored:
            others.setdefault(registry, []).append(package)
    if not others:
        return lock
    names = [f"{package['name']} from {index}" for index, ps in others.items() for package in ps]
    options = " ".join(
        f"--vendor '{package['name']}={url}'"
        for index, packages in others.items()
        for package in packages
        for url in [_choose_file(index, package)]
    )
    raise InputError(
        f"{path.name} takes packages from a second index: {', '.join(names[:5])}",
        why="the mirror has only the usual index; these names would become private in it",
        next_step=f"give them by their locked files (check the platform): {options}",
    )


def find_usual_index(document: Mapping[str, Any], project: LockedProject, root: Path) -> str:
    """Return the registry that most packages come from and that is no extra index."""
    extra = set(_list_extra_indexes(project, root))
    registries = Counter(
        str(package["source"]["registry"])
        for package in document.get("package", [])
        if "registry" in package.get("source", {})
    )
    for registry, _ in registries.most_common():
        if registry.rstrip("/") not in extra:
            return registry
    return ""


def _list_extra_indexes(project: LockedProject, root: Path) -> Iterator[str]:
    """Yield the URLs of indexes beside the default one."""
    tables = []
    for folder in dict.fromkeys((root, project.folder)):
        tables.append(read_pyproject(folder).get("tool", {}).get("uv", {}))
        if (folder / "uv.toml").is_file():
            tables.append(read_toml(folder / "uv.toml"))
    for table in tables:
        for index in table.get("index", []):
            if isinstance(index, dict) and not index.get("default", False):
                yield str(index.get("url", "")).rstrip("/")
        for url in table.get("extra-index-url", []):
            yield str(url).rstrip("/")


def _choose_file(index: str, package: Mapping[str, Any]) -> str:
    """Return the URL of a file for Linux with its hash, else of the first file."""
    files = [*package.get("wheels", [])] or [package.get("sdist", {})]
    usable = [file for file in files if _is_for_linux(str(file.get("url", file.get("path", ""))))]
    file = (usable or files)[0]
    url = urljoin(f"{index}/", str(file.get("url", file.get("path", ""))))
    digest = str(file.get("hash", "")).replace("sha256:", "#sha256=")
    return url + digest


def _is_for_linux(name: str) -> bool:
    return (
        name.endswith(("-any.whl", "x86_64.whl"))
        and "musllinux" not in name
        and ("macosx" not in name)
    )
