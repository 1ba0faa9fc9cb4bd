"""Which files of a release a Linux machine would install. Pure; PEP 425, 600 and 656 tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

PYTHON_VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# Docker's and Go's names of an architecture → the one of wheel tags
WHEEL_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "x86_64": "x86_64",
    "aarch64": "aarch64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEnvironment:
    """Machines that packages are wanted for; ``pythons`` as "3.12", ``machines`` as "x86_64"."""

    pythons: tuple[str, ...]
    machines: tuple[str, ...]
    musl: bool = False

    def accepts_tags(self, tags: Iterable[Tag]) -> bool:
        """Whether any of these machines would install a wheel of these tags."""
        return any(self._platform(tag.platform) and self._python(tag) for tag in tags)

    def satisfies_marker(self, marker: str) -> bool:
        """Whether a marker holds on any of them; one that cannot be told does."""
        if not marker:
            return True
        try:
            parsed = Marker(marker)
        except InvalidMarker:
            return True
        return any(
            parsed.evaluate(
                {
                    "python_version": python,
                    "python_full_version": f"{python}.99",
                    "platform_machine": machine,
                    "sys_platform": "linux",
                    "platform_system": "Linux",
                    "os_name": "posix",
                    "implementation_name": "cpython",
                    "platform_python_implementation": "CPython",
                    "extra": "",
                }
            )
            for python in self.pythons
            for machine in self.machines
        )

    def _platform(self, platform: str) -> bool:
        if platform == "any":
            return True
        kinds = ("linux_", "manylinux", *(("musllinux",) if self.musl else ()))
        return platform.startswith(kinds) and platform.endswith(
            tuple(f"_{machine}" for machine in self.machines)
        )

    def _python(self, tag: Tag) -> bool:
        return any(_runs(tag, int(python.partition(".")[2])) for python in self.pythons)


def _runs(tag: Tag, minor: int) -> bool:
    """Whether CPython 3.``minor`` takes a wheel of this tag, its platform aside."""
    here = f"cp3{minor}"
    if tag.abi == "none":
        since = tag.interpreter.removeprefix("py3") or "0"
        return tag.interpreter == here or (since.isdecimal() and int(since) <= minor)
    if tag.abi == "abi3":
        since = tag.interpreter.removeprefix("cp3")
        return since.isdecimal() and int(since) <= minor
    return tag.interpreter == here and tag.abi == here


def select_pythons(requires: str) -> tuple[str, ...]:
    """Those of PYTHONS that a lock's requires-python allows; all where it says nothing."""
    try:
        allowed = SpecifierSet(requires)
    except InvalidSpecifier:
        return PYTHON_VERSIONS
    found = tuple(one for one in PYTHON_VERSIONS if allowed.contains(f"{one}.99"))
    return found or PYTHON_VERSIONS


def parse_version(filename: str) -> Version | None:
    """The version that a file is of; None for what is neither a wheel nor an sdist."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[1]
        return parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def select_files(filenames: Sequence[str], target: TargetEnvironment) -> tuple[str, ...]:
    """Of one release's files the wheels that the target takes; without any, its sdists."""
    wheels, sdists = [], []
    for name in filenames:
        if not name.endswith(".whl"):
            sdists.append(name)
            continue
        try:
            tags = parse_wheel_filename(name)[3]
        except InvalidWheelFilename:
            continue
        if target.accepts_tags(tags):
            wheels.append(name)
    return tuple(wheels or sdists)
