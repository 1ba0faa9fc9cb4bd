"""Decide which files of a release a Linux machine installs, by the tags of PEP 425, 600 and 656."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

PYTHON_VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# architecture as Docker, Go or uname name it → as platform tags of wheels name it
SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")  # what installers build

WHEEL_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "x86_64": "x86_64",
    "aarch64": "aarch64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEnvironment:
    """Linux environments: CPython versions such as "3.12" on architectures such as "x86_64"."""

    pythons: tuple[str, ...]
    machines: tuple[str, ...]
    musl: bool = False

    def accepts_tags(self, tags: Iterable[Tag]) -> bool:
        """Return whether any of the environments installs a wheel with one of these tags."""
        minors = [int(python.partition(".")[2]) for python in self.pythons]
        return any(
            self._accepts_platform(tag.platform) and any(_is_compatible(tag, m) for m in minors)
            for tag in tags
        )

    def satisfies_marker(self, marker: str) -> bool:
        """Return whether a marker (PEP 508) holds in any of the environments, or is invalid."""
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

    def _accepts_platform(self, platform: str) -> bool:
        if platform == "any":
            return True
        prefixes = ("linux_", "manylinux", *(("musllinux",) if self.musl else ()))
        return platform.startswith(prefixes) and platform.endswith(
            tuple(f"_{machine}" for machine in self.machines)
        )


def _is_compatible(tag: Tag, minor: int) -> bool:
    """Return whether CPython 3.``minor`` loads a wheel with this tag, whatever its platform."""
    interpreter = f"cp3{minor}"
    if tag.abi == "none":
        oldest = tag.interpreter.removeprefix("py3") or "0"
        return tag.interpreter == interpreter or (oldest.isdecimal() and int(oldest) <= minor)
    if tag.abi == "abi3":
        oldest = tag.interpreter.removeprefix("cp3")
        return oldest.isdecimal() and int(oldest) <= minor
    return tag.interpreter == interpreter and tag.abi == interpreter


def select_pythons(requires_python: str) -> tuple[str, ...]:
    """Return the PYTHON_VERSIONS that requires-python allows; all if invalid or none."""
    try:
        allowed = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return PYTHON_VERSIONS
    versions = tuple(version for version in PYTHON_VERSIONS if allowed.contains(f"{version}.99"))
    return versions or PYTHON_VERSIONS


def allows_python(requires_python: str, python: str) -> bool:
    """Return whether requires-python allows a version such as "3.12"; an invalid one does."""
    try:
        return SpecifierSet(requires_python).contains(f"{python}.99", prereleases=True)
    except InvalidSpecifier:
        return True


def parse_version(filename: str, project: str) -> Version | None:
    """Return the version in the name of a project's wheel or sdist; None for other files.

    The project's name tells where the version starts: in demo-pkg-0.8-3.tar.gz it is 0.8.post3.
    """
    try:
        if filename.endswith(".whl"):
            name, version, *_ = parse_wheel_filename(filename)
            return version if name == canonicalize_name(project) else None
    except InvalidWheelFilename:
        return None
    suffix = next((suffix for suffix in SDIST_SUFFIXES if filename.endswith(suffix)), None)
    stem = filename.removesuffix(suffix) if suffix else ""
    for position in (index for index, letter in enumerate(stem) if letter == "-"):
        if canonicalize_name(stem[:position]) == canonicalize_name(project):
            try:
                return Version(stem[position + 1 :])
            except InvalidVersion:
                continue
    return None


def select_files(filenames: Sequence[str], target: TargetEnvironment) -> tuple[str, ...]:
    """Return the wheels of one release that ``target`` installs; if there are none, its sdists."""
    wheels, sdists = [], []
    for filename in filenames:
        if not filename.endswith(".whl"):
            if filename.endswith(SDIST_SUFFIXES):
                sdists.append(filename)
            continue
        try:
            tags = parse_wheel_filename(filename)[3]
        except InvalidWheelFilename:
            continue
        if target.accepts_tags(tags):
            wheels.append(filename)
    return tuple(wheels or sdists)
