"""Install what an image consists of, each part into segments of its own.

uv, an empty environment, every distribution and the project are segments that do not depend on each
other, so a change of one installs only that one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO, Any

from packaging.utils import canonicalize_name

from images.application_dockerfile import (
    BUILD_CONSTRAINTS,
    BYTECODE_COMPILER,
    INSTALLER,
    PROJECT_CONSTRAINTS,
    REQUIREMENTS,
    UV_PATH,
    UV_REQUIREMENTS,
    builder_environment,
    install_locked,
    install_members,
    install_uv,
    venv_path,
)
from images.application_recipe import ApplicationRecipe
from images.assembly.cache import LayerCache, Segment, content_key
from images.assembly.container_files import read_entries, split_entries
from images.assembly.segment import LayerEntry, SegmentWriter
from images.assembly.steps import AssemblySteps
from images.dockerfile_instructions import BUILD_PATH
from images.engine.containers import ContainerSpec, EngineContainer
from images.inside import read_program
from images.recipes import RECIPES
from images.source import ProjectSource
from mirror.core.errors import EngineError
from mirror.lock import PinnedDistribution

_REPORT = f"{BUILD_PATH}/report.json"
_PROJECT = "/project"  # what the installation of the project adds to the environment


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallRequest:
    """What to install. ``image`` is the id of the image of the build's containers.

    ``constraints`` are the texts of the build backends: those of the pins and of the project.
    ``versions`` are variables of the project's build. With ``fresh`` nothing in the cache is used.
    """

    recipe: ApplicationRecipe
    image: str
    index: str
    pins: tuple[PinnedDistribution, ...]
    constraints: Mapping[str, bytes]
    members: tuple[str, ...]
    versions: Mapping[str, str]
    source: ProjectSource
    fresh: bool

    @property
    def venv(self) -> str:
        """The environment's path in a layer."""
        return venv_path(self.recipe).lstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledParts:
    """The segments of an image. ``folders``: path → mode, owner and group, of the base image.

    ``built`` and ``builders`` are the distributions that were built, and that ran for it.
    """

    uv: Segment
    environment: Segment
    distributions: Mapping[str, Segment]
    source: Segment
    project: Segment
    folders: Mapping[str, tuple[int, int, int]]
    built: tuple[str, ...]
    builders: tuple[str, ...]


class PartInstaller:
    """Installs the parts of one image, or takes them from the cache."""

    def __init__(self, request: InstallRequest, cache: LayerCache, steps: AssemblySteps) -> None:
        self._request, self._cache, self._steps = request, cache, steps
        self._made: set[str] = set()
        programs = b"".join(read_program(name) for name in (INSTALLER, BYTECODE_COMPILER))
        # what every installation depends on
        self._common = {
            "image": request.image,
            "venv": request.venv,
            "programs": hashlib.sha256(programs).hexdigest(),
            "uv": _read_uv_requirements().decode(),
            "environment": {
                name: value
                for name, value in builder_environment("").items()
                if value  # the index decides nothing: every file has a hash
            },
        }

    def install(self) -> InstalledParts:
        """Return all parts. Raises EngineError with the step that failed."""
        uv, environment = self._install_uv(), self._create_environment()
        tools = (uv, environment)
        wheels, without_wheel = self._install_wheels(tools)
        built, builders = (), ()
        distributions = dict(wheels)
        if without_wheel:
            several = self._build(tools, without_wheel)
            built, builders = tuple(several.facts["built"]), tuple(several.facts["builders"])
            distributions["built from sdists"] = several
        source = self._write_source()
        project = self._install_project((*tools, source), builders)
        folders = environment.facts["folders"]
        return InstalledParts(
            uv=uv,
            environment=environment,
            distributions=distributions,
            source=source,
            project=project,
            folders={path.lstrip("/"): tuple(info) for path, info in folders.items()},
            built=built,
            builders=builders,
        )

    # -- the parts ------------------------------------------------------------------------------

    def _install_uv(self) -> Segment:
        key = self._key("uv")
        if known := self._find(key):
            return known
        python = f"{BUILD_PATH}/uv/bin/python3"
        script = f'python3 -m venv {BUILD_PATH}/uv && exec "$@"'
        spec = self._spec(("sh", "-c", script, "-", *install_uv(python)))
        with self._steps.run("install uv", spec) as container, self._cache.stage() as staged:
            writer = staged.open(key)
            with container.read_archive(f"{BUILD_PATH}/uv/bin/uv") as stream:
                for entry, content in read_entries(stream, UV_PATH.lstrip("/")):
                    writer.add(entry, content)
            staged.commit({})
        return self._get(key)

    def _create_environment(self) -> Segment:
        key = self._key("environment")
        if known := self._find(key):
            return known
        venv = f"/{self._request.venv}"
        spec = self._spec(("python3", f"{BUILD_PATH}/{INSTALLER}", "environment", venv, _REPORT))
        with (
            self._steps.run("create an environment", spec) as container,
            self._cache.stage() as staged,
        ):
            writer = staged.open(key)
            with container.read_archive(venv) as stream:
                for entry, content in read_entries(stream, self._request.venv):
                    writer.add(entry, content)
            staged.commit({key: read_report(container)})
        return self._get(key)

    def _install_wheels(
        self, tools: tuple[Segment, ...]
    ) -> tuple[dict[str, Segment], tuple[PinnedDistribution, ...]]:
        """Return the segment of each distribution that has a wheel, and the pins of the others.

        No code of a package runs in these containers, so what they install may be used by every
        later build: none can change what another one gets.
        """
        names: dict[str, list[PinnedDistribution]] = defaultdict(list)
        for pin in self._request.pins:
            names[str(canonicalize_name(pin.name))].append(pin)
        keys = {
            name: self._key("wheel", requirements=sorted(pin.requirement for pin in pins))
            for name, pins in names.items()
        }
        missing = {name for name, key in keys.items() if not self._find(key)}
        if missing:
            missing -= self._install_missing(tools, names, keys, missing)
        for name in sorted(missing):  # their files are also those of another distribution
            self._install_missing(tools, names, keys, {name})
        segments = {name: self._get(key) for name, key in keys.items()}
        without = {name for name, found in segments.items() if found.facts.get("without_wheel")}
        pins = tuple(pin for name in sorted(without) for pin in names[name])
        return {name: segments[name] for name in sorted({*segments} - without)}, pins

    def _install_missing(
        self,
        tools: tuple[Segment, ...],
        names: Mapping[str, list[PinnedDistribution]],
        keys: Mapping[str, str],
        missing: set[str],
    ) -> set[str]:
        """Install the wheels of distributions; return those that are in the cache now."""
        pins = [pin for name in sorted(missing) for pin in names[name]]
        spec = self._install_spec(tools, pins, "--no-build")
        text = "install the packages, compile their bytecode"
        with self._steps.run(text, spec) as container, self._cache.stage() as staged:
            report = read_report(container)
            files = report["files"]
            shared = find_shared(files) if len(missing) > 1 else set()
            kept = {name: paths for name, paths in files.items() if name not in shared}
            done = missing - shared
            writers = {name: staged.open(keys[name]) for name in sorted(done)}
            self._split(container, kept, writers)
            without = set(report["without_wheel"])
            staged.commit({keys[name]: {"without_wheel": name in without} for name in done})
        self._made |= {keys[name] for name in done}
        return done

    def _build(self, tools: tuple[Segment, ...], pins: tuple[PinnedDistribution, ...]) -> Segment:
        """Return one segment with what has to be built: code of each runs beside the others."""
        constraints = self._request.constraints[BUILD_CONSTRAINTS].decode()
        lines = sorted(pin.requirement for pin in pins)
        key = self._key("built", requirements=lines, constraints=constraints)
        if known := self._find(key):
            return known
        spec = self._install_spec(tools, pins)
        text = "build the packages that have no wheel"
        with self._steps.run(text, spec) as container, self._cache.stage() as staged:
            report = read_report(container)
            writer = staged.open(key)
            self._split(container, report["files"], dict.fromkeys(report["files"], writer))
            staged.commit({key: {name: report[name] for name in ("built", "builders")}})
        return self._get(key)

    def _write_source(self) -> Segment:
        request = self._request
        owner = request.recipe.user_id
        folder = request.recipe.folder.lstrip("/")
        digest = hash_source(request.source)
        key = content_key("source", files=digest, folder=folder, owner=owner)
        if known := self._find(key):
            return known
        with self._cache.stage() as staged:
            write_source(staged.open(key), request.source, folder, owner)
            staged.commit({key: {"digest": digest}})
        return self._get(key)

    def _install_project(self, tools: tuple[Segment, ...], builders: tuple[str, ...]) -> Segment:
        request = self._request
        command = install_members(request.recipe, UV_PATH, request.members)
        key = self._key(
            "project",
            command=command,
            source=tools[-1].facts["digest"] if command else "",
            constraints=request.constraints[PROJECT_CONSTRAINTS].decode(),
            variables={**request.versions, **request.recipe.build_environment},
            builders=builders,
        )
        if known := self._find(key):
            return known
        names = f"{request.venv}/built-with"
        with self._cache.stage() as staged, ExitStack() as stack:
            writer = staged.open(key)
            if command:
                venv = f"/{request.venv}"
                program = ("python3", f"{BUILD_PATH}/{INSTALLER}", "project", venv, _PROJECT)
                spec = self._spec((*program, *command), tools)
                spec = replace(
                    spec,
                    files={**spec.files, f"/{names}": join_lines(builders)},
                    environment={
                        **spec.environment,
                        **request.versions,
                        **request.recipe.build_environment,
                    },
                )
                container = stack.enter_context(self._steps.run("install the project", spec))
                stream = stack.enter_context(container.read_archive(_PROJECT))
                split_entries(read_entries(stream, request.venv), lambda _: writer, request.venv)
            else:
                writer.add(LayerEntry(name=request.venv, kind=tarfile.DIRTYPE, mode=0o755))
                content = join_lines(builders)
                writer.add(LayerEntry(name=names, size=len(content)), io.BytesIO(content))
            staged.commit({})
        return self._get(key)

    # -- helpers --------------------------------------------------------------------------------

    def _key(self, kind: str, **facts: Any) -> str:
        return content_key(kind, **self._common, **facts)

    def _find(self, key: str) -> Segment | None:
        if self._request.fresh and key not in self._made:
            return None
        return self._cache.find(key)

    def _get(self, key: str) -> Segment:
        """Return a segment that this build has just made, or found."""
        self._made.add(key)
        return self._cache.get(key)

    def _spec(self, argv: tuple[str, ...], archives: Iterable[Segment] = ()) -> ContainerSpec:
        programs = {name: read_program(name) for name in (INSTALLER, BYTECODE_COMPILER)}
        files = {**programs, **self._request.constraints, UV_REQUIREMENTS: _read_uv_requirements()}
        return ContainerSpec(
            image=self._request.image,
            argv=argv,
            user="0",
            workdir="/",
            environment=builder_environment(self._request.index),
            files={f"{BUILD_PATH}/{name}": content for name, content in files.items()},
            archives=tuple(segment.path for segment in archives),
        )

    def _install_spec(
        self, tools: tuple[Segment, ...], pins: Iterable[PinnedDistribution], *options: str
    ) -> ContainerSpec:
        command = install_locked(self._request.recipe, UV_PATH)
        venv = f"/{self._request.venv}"
        program = ("python3", f"{BUILD_PATH}/{INSTALLER}", "distributions", venv, _REPORT)
        spec = self._spec((*program, *command, *options), tools)
        lines = "".join(f"{pin.requirement}\n" for pin in pins).encode()
        return replace(spec, files={**spec.files, f"{BUILD_PATH}/{REQUIREMENTS}": lines})

    def _split(
        self,
        container: EngineContainer,
        files: Mapping[str, list[str]],
        writers: Mapping[str, SegmentWriter],
    ) -> None:
        """Read the environment of a container into a segment for each distribution."""
        owners = {
            path.lstrip("/"): writers[name] for name, paths in files.items() for path in paths
        }
        venv = self._request.venv
        with container.read_archive(f"/{venv}") as stream:
            split_entries(read_entries(stream, venv), owners.get, venv)


def read_report(container: EngineContainer) -> dict[str, Any]:
    """Return what installer.py has written in a container."""
    with container.read_archive(_REPORT) as stream:
        for _, content in read_entries(stream, _REPORT):
            if content:
                return dict(json.load(content))
    raise EngineError("the build wrote no report", next_step="run the same command again")


def find_shared(files: Mapping[str, list[str]]) -> set[str]:
    """Return the names of distributions that have a path which another one has, too."""
    counts = Counter(path for paths in files.values() for path in paths)
    return {name for name, paths in files.items() if any(counts[path] > 1 for path in paths)}


def hash_source(source: ProjectSource) -> str:
    """Return the hash of a project's files: paths, kinds, modes and content."""
    digest = hashlib.sha256()
    for entry, content in list_source(source):
        line = (entry.name, entry.kind.decode(), entry.mode, entry.size, entry.target)
        digest.update(json.dumps(line).encode())
        while content and (chunk := content.read(1 << 20)):
            digest.update(chunk)
    return digest.hexdigest()


def list_source(source: ProjectSource) -> Iterator[tuple[LayerEntry, IO[bytes] | None]]:
    """Yield the files of a project with their content; modes are 0644 or 0755."""
    for name in source.files:
        path = source.folder / name
        if path.is_symlink():
            target = os.readlink(path)  # noqa: PTH115 - the text, not normalized
            yield LayerEntry(name=name, kind=tarfile.SYMTYPE, mode=0o777, target=target), None
            continue
        mode = 0o755 if os.access(path, os.X_OK) else 0o644
        with path.open("rb") as content:
            size = content.seek(0, io.SEEK_END)
            content.seek(0)
            yield LayerEntry(name=name, mode=mode, size=size), content


def write_source(writer: SegmentWriter, source: ProjectSource, folder: str, owner: int) -> None:
    """Write the files of a project below a folder, for the user who owns them."""
    for entry, content in list_source(source):
        name = f"{folder}/{entry.name}"
        parents = [name[:at] for at, char in enumerate(name) if char == "/" and at > len(folder)]
        for parent in parents:
            if parent not in writer:
                writer.add(
                    LayerEntry(
                        name=parent, kind=tarfile.DIRTYPE, mode=0o755, owner=owner, group=owner
                    )
                )
        writer.add(replace(entry, name=name, owner=owner, group=owner), content)


def _read_uv_requirements() -> bytes:
    return (RECIPES / "uv.txt").read_bytes()


def join_lines(lines: Iterable[str]) -> bytes:
    """Return a file of sorted lines."""
    return "".join(f"{line}\n" for line in sorted(lines)).encode()
