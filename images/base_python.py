"""Compare the Python of the base image with what a project and its lock ask for."""

from __future__ import annotations

from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from images.engine import EngineClient, EngineImage
from images.engine.containers import ContainerSpec, run_to_end
from images.project.python_version import (
    PythonStatement,
    choose_base,
    choose_version,
    read_image_statement,
    read_statements,
)
from images.project.reading import Line
from images.project_lock import ProjectLock
from images.toml_file import read_pyproject
from mirror.core.errors import EngineError, InputError


def check_base_tag(base: str, folder: Path, lock: ProjectLock) -> None:
    """Compare the version in a base image's name. Raises InputError if the project excludes it.

    A name without a version is not compared: `check_base_image` asks the image.
    """
    stated = read_image_statement(base, Line(file="base"))
    if stated is None:
        return
    for statement in _list_statements(folder, lock):
        minor = next(iter(stated.specifier)).version.removesuffix(".*")
        if not statement.allows(minor):
            raise _refuse(base, minor, statement, folder, lock)


def has_known_python(base: str) -> bool:
    """Whether the name of a base image has its version of Python."""
    return read_image_statement(base, Line(file="base")) is not None


def check_base_image(
    engine: EngineClient, image: EngineImage, base: str, folder: Path, lock: ProjectLock
) -> None:
    """Compare the version of Python in a base image. Raises InputError if the project excludes it,
    EngineError if the image has no Python."""
    program = "import platform; print(platform.python_version())"
    spec = ContainerSpec(image=image.id, argv=("python3", "-c", program))
    try:
        result = run_to_end(engine, spec, "the version of Python")
    except EngineError as error:
        raise _no_python(base, error.why) from error
    if result.exit_code != 0:
        raise _no_python(base, result.output[-200:])
    version = result.stdout.strip()
    for statement in _list_statements(folder, lock):
        if not statement.specifier.contains(version, prereleases=True):
            raise _refuse(base, version, statement, folder, lock)


def _list_statements(folder: Path, lock: ProjectLock) -> list[PythonStatement]:
    """Return the bounds of the project and of its lock, without what only chooses a version."""
    document = read_pyproject(folder)
    found = [item for item in read_statements(folder, document) if not item.is_choice]
    if lock.requires_python:
        try:
            specifier = SpecifierSet(lock.requires_python)
        except InvalidSpecifier:
            return found
        text = f"requires-python {lock.requires_python}"
        found.append(PythonStatement(specifier=specifier, text=text, line=Line(file=lock.file)))
    return found


def _refuse(
    base: str, version: str, statement: PythonStatement, folder: Path, lock: ProjectLock
) -> InputError:
    usable = choose_version(_list_statements(folder, lock))
    next_step = f"choose another base image: --base {choose_base(None, usable)}" if usable else ""
    return InputError(
        f"the base image {base} has Python {version}, which the project does not support",
        why=f"{statement.line}: {statement.text}",
        next_step=next_step or "correct requires-python, and lock again",
    )


def _no_python(base: str, why: str) -> EngineError:
    return EngineError(
        f"the base image {base} has no Python 3",
        why=why,
        next_step="choose a Debian image with Python: --base python:3.12-slim-bookworm",
    )
