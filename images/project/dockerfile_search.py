"""Find the Dockerfile that builds a project: beside it, in `docker/`, and in its parents."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name

from images.project.compose import COMPOSE_FILES, ComposeService, read_compose
from images.project.dockerfile_stages import Stage, choose_stage, read_stages
from images.project.run_steps import read_runs
from mirror.core.errors import InputError

_NAMES = ("Dockerfile", "Containerfile")
_SUFFIXES = ("prod", "production", "release", "web", "app", "api", "backend", "server")
_FOLDERS = (
    "docker",
    ".docker",
    "deploy",
    "deployment",
    "deployments",
    "build",
    "ops",
    "containers",
)
_DEVELOPMENT = re.compile(
    r"(^|[._/-])(dev|devel|development|test|tests|testing|ci|docs?|local)($|[._/-])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDockerfile:
    """A Dockerfile; ``name`` and ``context`` are relative to the repository."""

    name: str
    context: str
    stage: Stage
    stages: tuple[Stage, ...]
    service: ComposeService | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerfileSearch:
    """The Dockerfile of a project, if there is one, and everything that was looked at."""

    found: FoundDockerfile | None
    services: tuple[ComposeService, ...]
    looked_at: tuple[str, ...]
    others: tuple[str, ...]
    unreadable: tuple[InputError, ...] = ()


def find_repository(folder: Path) -> Path:
    """Return the top of the git repository that a folder is in, else the folder itself."""
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            return parent
    return folder


def find_dockerfile(
    folder: Path, repository: Path, variables: Mapping[str, str], package: str = ""
) -> DockerfileSearch:
    """Return the first Dockerfile with a stage that has Python.

    The order is: what a compose file builds from the folder, the folder, its `docker/` and the
    like, then the same in each parent up to the repository. A Dockerfile of a parent counts only if
    it names the folder, or installs ``package``, the project's name. ``variables`` are values for
    the variables of compose files.
    """
    looked_at: list[str] = []
    others: list[str] = []
    unreadable: list[InputError] = []
    services = _find_services(folder, repository, variables)
    chosen: FoundDockerfile | None = None
    candidates = [*_from_services(services), *_from_folders(folder, repository)]
    for name, context, service in candidates:
        path = repository / name
        if not path.is_file() or name in looked_at:
            continue
        looked_at.append(name)
        if chosen is not None:
            others.append(name)
            continue
        try:
            stages = read_stages(path, name)
        except InputError as error:
            unreadable.append(error)
            continue
        stage = choose_stage(stages, _find_target(service))
        if stage is None or not stage.uses_python:
            continue
        if _is_about(path, folder, repository) or _installs(stages, package):
            chosen = FoundDockerfile(
                name=name, context=context, stage=stage, stages=stages, service=service
            )
    relative = posixpath.normpath(folder.relative_to(repository).as_posix())
    expected = (*_NAMES, *(f"{place}/Dockerfile" for place in _FOLDERS[:1]))
    missing = [posixpath.normpath(f"{relative}/{name}") for name in expected]
    return DockerfileSearch(
        found=chosen,
        services=tuple(services),
        looked_at=tuple(dict.fromkeys((*looked_at, *missing))),
        others=tuple(others),
        unreadable=tuple(unreadable),
    )


def _find_services(
    folder: Path, repository: Path, variables: Mapping[str, str]
) -> list[ComposeService]:
    """Return the services whose build context is the folder or a parent of it.

    Their paths become relative to the repository.
    """
    found = []
    for place in (folder, *folder.parents):
        if not place.is_relative_to(repository):
            break
        for name in COMPOSE_FILES:
            path = place / name
            if not path.is_file():
                continue
            relative = path.relative_to(repository).as_posix()
            for service in read_compose(path, relative, variables):
                context = (place / service.context).resolve()
                is_ours = context.is_relative_to(repository) and folder.is_relative_to(context)
                if is_ours:
                    found.append(_relate(service, context, repository))
    return found


def _relate(service: ComposeService, context: Path, repository: Path) -> ComposeService:
    inside = context.relative_to(repository).as_posix()
    dockerfile = posixpath.normpath(posixpath.join(inside, service.dockerfile))
    return replace(service, context=inside, dockerfile=dockerfile)


def _find_target(service: ComposeService | None) -> str | None:
    """Return the stage that a service is built from, None for development."""
    target = service.target if service else None
    return None if target is None or _DEVELOPMENT.search(target) else target


_Candidate = tuple[str, str, ComposeService | None]


def _from_services(services: list[ComposeService]) -> Iterator[_Candidate]:
    usual = [service for service in services if not _DEVELOPMENT.search(service.dockerfile)]
    # a service with a port is the application, one without is its worker
    for service in sorted(usual, key=lambda service: not service.port):
        yield service.dockerfile, service.context, service


def _from_folders(folder: Path, repository: Path) -> Iterator[_Candidate]:
    for place in (folder, *folder.parents):
        if not place.is_relative_to(repository):
            return
        context = place.relative_to(repository).as_posix()
        for path in _list_dockerfiles(place):
            yield path.relative_to(repository).as_posix(), context, None


def _list_dockerfiles(place: Path) -> Iterator[Path]:
    yield from (place / name for name in _NAMES)
    yield from (place / f"Dockerfile.{suffix}" for suffix in _SUFFIXES)
    yield from (place / f"{suffix}.Dockerfile" for suffix in _SUFFIXES)
    for name in _FOLDERS:
        inner = [*(place / name).glob("**/*ockerfile*")] if (place / name).is_dir() else []
        files = [path for path in inner if path.is_file() and path.suffix not in (".md", ".sh")]
        yield from sorted(files, key=lambda path: _rank(path.relative_to(place).as_posix()))
    loose = [*place.glob("Dockerfile*"), *place.glob("*.Dockerfile")]
    usual = (path for path in sorted(loose) if path.suffix != ".dockerignore")
    yield from sorted(usual, key=lambda path: _rank(path.name))


def _rank(name: str) -> tuple[bool, bool, int, str]:
    """Return a key by which files for development and for Alpine are last."""
    is_development = _DEVELOPMENT.search(name.lower()) is not None
    return (is_development, "alpine" in name.lower(), name.count("/"), name)


def _installs(stages: tuple[Stage, ...], package: str) -> bool:
    """Whether a stage installs this member of a workspace by its name: `uv sync --package`."""
    runs = [run for stage in stages for run in stage.runs]
    members = {canonicalize_name(name) for name, _ in read_runs(runs).members}
    return bool(package) and canonicalize_name(package) in members


def _is_about(path: Path, folder: Path, repository: Path) -> bool:
    """Whether a Dockerfile of a parent builds the folder: it names it."""
    if path.is_relative_to(folder):
        return True
    place = path.parent if path.parent != repository else repository
    top = place if folder.is_relative_to(place) else repository
    text = path.read_text(errors="replace")
    return folder.relative_to(top).as_posix() in text or f"{folder.name}/" in text
