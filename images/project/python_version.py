"""Find the Python that a project asks for, and choose the base image by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from images.project.reading import Contradiction, Line, find_line
from images.toml_file import read_toml

DEFAULT_VERSION = "3.12"
_DEFAULT_IMAGE = "python:{}-slim-bookworm"
_MINOR_VERSIONS = tuple(f"3.{minor}" for minor in range(8, 16))
_OFFICIAL = re.compile(r"((docker\.io/|public\.ecr\.aws/docker/)?library/|docker\.io/)?python")
_UNUSABLE_TAGS = ("alpine", "windowsservercore", "nanoserver", "buster", "stretch", "jessie")
_RELEASES = ("bookworm", "trixie", "bullseye")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonStatement:
    """What a line says about the version of Python, as a PEP 440 specifier.

    ``is_choice`` is true for a line that only chooses one version of several: --base replaces it.
    """

    specifier: SpecifierSet
    text: str
    line: Line
    is_choice: bool = False

    def allows(self, minor: str) -> bool:
        """Whether some release of a minor version, such as 3.12, is allowed."""
        # a bound such as >=3.12.4 or <3.13 is compared with the first and a late release
        return any(self.specifier.contains(f"{minor}.{patch}") for patch in range(41))


def read_statements(
    folder: Path, document: Mapping[str, Any], prefix: str = ""
) -> Iterator[PythonStatement]:
    """Yield what a project's own files say; ``document`` is the content of pyproject.toml.

    ``prefix`` is the folder, relative to the source, for the names of the files.
    """
    project, tool = document.get("project", {}), document.get("tool", {})
    pyproject, own_name = folder / "pyproject.toml", str(Path(prefix, "pyproject.toml"))
    if text := project.get("requires-python"):
        line = find_line(pyproject, r"\s*requires-python\s*=", own_name)
        yield from _parse_statement(str(text), f"requires-python {text}", line)
    poetry = tool.get("poetry", {}).get("dependencies", {})
    if isinstance(text := poetry.get("python"), str):
        line = find_line(pyproject, r"\s*python\s*=", own_name)
        yield from _parse_statement(convert_caret(text), f"python {text}", line)
    pipfile = folder / "Pipfile"
    version = read_toml(pipfile).get("requires", {}) if pipfile.is_file() else {}
    if text := version.get("python_version"):
        line = find_line(pipfile, r"\s*python_version\s*=", str(Path(prefix, "Pipfile")))
        yield from _parse_statement(f"=={text}.*", f"python_version {text}", line)
    if not project and not poetry:
        for name in ("uv.lock", "pylock.toml"):
            yield from _read_lock_statement(folder / name, str(Path(prefix, name)))
    for name, pattern in (
        (".python-version", r"(?:cpython-)?(\d+\.\d+)"),
        ("runtime.txt", r"python-(\d+\.\d+)"),
    ):
        path = folder / name
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        for number, content in enumerate(lines, start=1):
            if match := re.match(pattern, content.strip()):
                line = Line(file=str(Path(prefix, name)), number=number)
                specifier = SpecifierSet(f"=={match[1]}.*")
                yield PythonStatement(
                    specifier=specifier, text=content.strip(), line=line, is_choice=True
                )
                break


def _read_lock_statement(path: Path, name: str) -> Iterator[PythonStatement]:
    """Yield what a lock was made for; its line is one of the first."""
    if not path.is_file():
        return
    with path.open(errors="replace") as file:
        for number, content in enumerate(islice(file, 20), start=1):
            if match := re.match(r'requires-python = "([^"]+)"', content):
                line = Line(file=name, number=number)
                yield from _parse_statement(match[1], f"requires-python {match[1]}", line)


def read_image_statement(image: str, line: Line) -> PythonStatement | None:
    """Return the version in the name of an image: python:3.12-slim, uv:python3.12-bookworm."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    match = re.match(r"(?:python)?v?(\d+\.\d+)", tag) if "python" in image else None
    if match is None or not (name.endswith("python") or tag.startswith("python")):
        return None
    statement = SpecifierSet(f"=={match[1]}.*")
    return PythonStatement(specifier=statement, text=f"FROM {image}", line=line, is_choice=True)


def convert_caret(text: str) -> str:
    """Return a version constraint of Poetry (^3.11, ~3.11, 3.11.*, >=3.9,<4) as PEP 440.

    Alternatives (||) are not a PEP 440 specifier; the last of them is used.
    """
    parts = []
    for part in filter(None, re.split(r"[, ]+(?=[<>=!~^\d])", text.split("||")[-1].strip())):
        bare = part.strip().replace(" ", "")
        if bare.startswith("^"):
            release = Version(bare[1:]).release
            index = next((i for i, number in enumerate(release) if number), len(release) - 1)
            upper = [*release[:index], release[index] + 1]
            parts.append(f">={bare[1:]},<{'.'.join(map(str, upper))}")
        elif re.match(r"~\d", bare):
            release = Version(bare[1:]).release
            upper = [release[0], release[1] + 1] if len(release) > 1 else [release[0] + 1]
            parts.append(f">={bare[1:]},<{'.'.join(map(str, upper))}")
        elif bare[:1].isdigit():
            parts.append(f"=={bare}")
        elif bare != "*":
            parts.append(bare)
    return ",".join(parts)


def _parse_statement(specifier: str, text: str, line: Line) -> Iterator[PythonStatement]:
    try:
        yield PythonStatement(specifier=SpecifierSet(specifier), text=text, line=line)
    except InvalidSpecifier:
        return


def find_contradictions(
    statements: Sequence[PythonStatement], base: str | None
) -> Iterator[Contradiction]:
    """Yield each pair of statements, or a statement and the user's base image, that exclude
    each other."""
    option = read_image_statement(base, Line(file="--base")) if base else None
    if option is not None:
        for statement in statements:
            if _overlap(statement, option) or statement.is_choice:
                continue
            version = _minor(option)
            bounds = [statement for statement in statements if not statement.is_choice]
            yield Contradiction(
                what=f"the project does not support Python {version}",
                why=f"{statement.line}: {statement.text}; --base {base} has Python {version}",
                next_step=f"give a base image with another Python: --base "
                f"{_DEFAULT_IMAGE.format(choose_version(bounds) or DEFAULT_VERSION)}",
            )
        return
    if choose_version(statements):
        return
    too_old = [item for item in statements if not any(map(item.allows, _MINOR_VERSIONS))]
    for item in too_old:
        yield Contradiction(
            what="the project asks for a Python that cannot be used",
            why=f"{item.line}: {item.text}; images are built with Python {_MINOR_VERSIONS[0]} to "
            f"{_MINOR_VERSIONS[-1]}",
            next_step="choose another one, and make the lock for it: --base "
            + _DEFAULT_IMAGE.format(DEFAULT_VERSION)
            if item.is_choice
            else "correct the line, and lock the project again",
        )
    for index, first in enumerate(statements):
        for second in statements[index + 1 :]:
            if not _overlap(first, second):
                yield Contradiction(
                    what="the project asks for two different versions of Python",
                    why=f"{first.line}: {first.text}; {second.line}: {second.text}",
                    next_step="correct one of them, or choose a base image with --base",
                )


def choose_version(statements: Sequence[PythonStatement]) -> str | None:
    """Return the minor version that all statements allow, None if there is none.

    The default version if it is allowed, else the oldest newer one, else the newest older one.
    """
    allowed = [
        minor
        for minor in _MINOR_VERSIONS
        if all(statement.allows(minor) for statement in statements)
    ]
    if DEFAULT_VERSION in allowed:
        return DEFAULT_VERSION
    default = Version(DEFAULT_VERSION)
    newer = [minor for minor in allowed if Version(minor) > default]
    return next(iter(newer), allowed[-1] if allowed else None)


def choose_base(image: str | None, version: str) -> str:
    """Return the base image: the Dockerfile's, if it is Debian's official Python, else that one."""
    if image is not None and "$" not in image:
        name, _, tag = image.partition("@")[0].rpartition(":")
        is_debian = not any(part in tag for part in _UNUSABLE_TAGS)
        has_version = re.match(rf"{re.escape(version)}(\.\d+)?($|[-.])", tag) is not None
        if _OFFICIAL.fullmatch(name) and is_debian and has_version:
            return image
        for release in _RELEASES:  # uv's images and the like: the same release of Debian
            if release in tag:
                return f"python:{version}-slim-{release}"
    return _DEFAULT_IMAGE.format(version)


def _overlap(first: PythonStatement, second: PythonStatement) -> bool:
    return any(first.allows(minor) and second.allows(minor) for minor in _MINOR_VERSIONS)


def _minor(statement: PythonStatement) -> str:
    return next(
        (minor for minor in _MINOR_VERSIONS if statement.allows(minor)), str(statement.specifier)
    )
