"""Packages that a lock takes from another index than the rest: the mirror does not have them.

They become direct references to their locked files, which images/vendor.py fetches.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from images.locks import LockedProject
from images.project.python_version import DEFAULT_VERSION, choose_version, read_image_statement
from images.project.reading import Line
from images.toml_file import read_pyproject, read_toml
from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution

_GLIBC = 36  # minor version of Debian 12, the oldest usual base


def take_from_indexes(
    lock: LockFile, document: Mapping[str, Any], project: LockedProject, path: Path
) -> LockFile:
    """Return the lock with a direct reference to the locked file of each package that is in an
    index beside the usual one.

    Packages that the image does not need, and those in ``project.vendored``, stay as they are.
    Raises InputError for a package without a file for the image.
    """
    usual = find_usual_index(document, project, path.parent)
    version = _find_python(project.base)
    others = {
        (str(canonicalize_name(package["name"])), str(package.get("version", ""))): package
        for package in document.get("package", [])
        if package.get("source", {}).get("registry", usual) != usual
    }

    def refer(pin: PinnedDistribution) -> PinnedDistribution:
        package = None if pin.origin else others.get((pin.name, pin.version))
        if package is None or pin.name in project.vendored or not _is_needed(pin, version):
            return pin
        return replace(pin, origin=_choose_file(package, version))

    return replace(lock, pins=tuple(map(refer, lock.pins)))


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


def _find_python(base: str) -> str:
    """Return the minor version of Python in the name of a base image, the default without one."""
    statement = read_image_statement(base, Line(file="base"))
    return choose_version([statement] if statement else []) or DEFAULT_VERSION


def _is_needed(pin: PinnedDistribution, version: str) -> bool:
    """Whether a pin's marker applies to Linux with a version of Python."""
    environment = {
        **{"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
        **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
        **{"python_version": version, "python_full_version": f"{version}.0"},
    }
    return not pin.marker or Marker(pin.marker).evaluate(environment)


def _choose_file(package: Mapping[str, Any], version: str) -> str:
    """Return the URL or path, with its hash, of a package's wheel for Linux, else of its sdist."""
    index, name = str(package["source"]["registry"]), str(package["name"])
    supported = {tag: rank for rank, tag in enumerate(_list_tags(version))}
    wheels = package.get("wheels", [])
    ranked = [
        (min(ranks), number)
        for number, wheel in enumerate(wheels)
        if (ranks := [supported[tag] for tag in _read_tags(_locate(wheel)) if tag in supported])
    ]
    sdist = package.get("sdist")
    file = wheels[min(ranked)[1]] if ranked else sdist
    if not file:
        machine = platform.machine()
        raise InputError(
            f"{name} {package.get('version')} has no file for Python {version} on Linux {machine}",
            why=f"it is locked from {index}, with {len(wheels)} wheels for others",
            next_step=f"lock a version that has one, or give it: --vendor {name}=WHEEL",
        )
    digest = str(file.get("hash", "")).replace("sha256:", "#sha256=")
    place = _locate(file)
    if "://" in index:
        return urljoin(f"{index}/", place) + digest
    return f"{index}/{place}"  # a folder of files, relative to the lock


def _locate(file: Mapping[str, Any]) -> str:
    return str(file.get("url", file.get("path", "")))


def _list_tags(version: str) -> Iterator[Tag]:
    """Yield the tags of wheels that Debian's CPython can install, best first."""
    release = tuple(map(int, version.split(".")))
    machine = platform.machine()
    numbers = range(_GLIBC, 4, -1)
    old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    platforms = [
        f"{name}_{machine}"
        for number in numbers
        for name in (f"manylinux_2_{number}", old.get(number))
        if name
    ]
    platforms.append(f"linux_{machine}")
    yield from cpython_tags(release, platforms=platforms)
    yield from compatible_tags(release, f"cp{release[0]}{release[1]}", platforms)


def _read_tags(location: str) -> frozenset[Tag]:
    name = unquote(urlsplit(location).path).rpartition("/")[2]
    try:
        return parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return frozenset()
