"""Conclude a recipe from a project's files, with the line that each value comes from."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from images.application_recipe import ApplicationRecipe, parse_application_recipe
from images.debian_packages import COMPILERS, RUNTIME_LIBRARIES, is_third_party
from images.project.dockerfile_search import (
    DockerfileSearch,
    FoundDockerfile,
    find_dockerfile,
    find_repository,
)
from images.project.dockerfile_stages import RunInstruction, Stage
from images.project.layout import (
    DEFAULT_FOLDER,
    ImageLayout,
    choose_folder,
    find_workdir,
    strip_environment,
    translate_argv,
    translate_word,
)
from images.project.procfile import PROCFILE_PORT, read_procfile
from images.project.python_version import (
    PythonStatement,
    choose_base,
    choose_version,
    find_contradictions,
    read_image_statement,
    read_statements,
)
from images.project.reading import Conclusion, Line, NotTaken, ProjectReading, find_line, shorten
from images.project.run_steps import (
    ALL,
    RunFindings,
    list_environments,
    names_program,
    read_runs,
    read_selection,
    strip_runner,
)
from images.project.server_settings import find_configured_port
from images.project.settings import OWN_VARIABLES, find_hosts, read_example_settings
from images.project.start_suggestion import suggest_start
from images.project.workspace import find_workspace
from images.toml_file import read_pyproject

_LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock")
_INIT_PROGRAMS = {"tini", "dumb-init", "catatonit"}
_ALONE_SECONDS = 10.0  # how long a start without a port has to stay
_SILENT = {"LABEL", "MAINTAINER", "STOPSIGNAL"}  # they change nothing about what runs
_PORT_WORDS = re.compile(
    r"(?:(?:--port|-p|--http-port)[= ]|(?:--bind|-b|--listen|--host)[= ]\S*?:|"
    r"\b0\.0\.0\.0:|\[::\]:|runserver \S*?:?)(\d{2,5})\b"
)
_DEFAULT_PORTS = {"uvicorn": 8000, "gunicorn": 8000, "fastapi": 8000, "hypercorn": 8000,
                  "streamlit": 8501, "daphne": 8000, "granian": 8000, "flask": 5000,
                  "runserver": 8000, "http.server": 8000}  # fmt: skip
_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(/[\w./-]*)?")


class ProjectReader:
    """Reads one project. `read_project` is its only user."""

    def __init__(self, root: Path, member: str, name: str | None, base: str | None) -> None:
        self.root, self.member, self.name, self.base = root, member, name, base
        self.folder = root / member if member else root
        self.repository = find_repository(root)
        self.pyproject = read_pyproject(self.folder)
        self.document: dict[str, Any] = {}
        self.conclusions: list[Conclusion] = []
        self.not_taken: list[NotTaken] = []
        self.unknown: list[str] = []
        self.example: dict[str, str] = {}

    def read(self) -> ProjectReading:
        """Return everything that the files say."""
        self._read_name()
        self._read_example()
        search = find_dockerfile(
            self.folder, self.repository, self.example, self._find_name() if self.member else ""
        )
        for error in search.unreadable:
            self.unknown.append(str(error))
        statements = self._list_statements(search.found)
        self._read_base(statements, search.found)
        if search.found:
            self._read_dockerfile(search.found)
        for other in search.others:
            why = f"{search.found.name if search.found else 'another file'} is used"
            self.not_taken.append(NotTaken(line=Line(file=other), text="the whole file", why=why))
        self._read_starts(search)
        self._read_settings(search)
        return ProjectReading(
            recipe=self._make_recipe(),
            conclusions=tuple(self.conclusions),
            not_taken=tuple(dict.fromkeys(self.not_taken)),
            unknown=tuple(self.unknown),
            contradictions=tuple(find_contradictions(statements, self.base)),
        )

    def _conclude(self, key: str, value: str, line: Line) -> None:
        self.conclusions.append(Conclusion(key=key, value=value, line=line))

    def _skip(self, line: Line, text: str, why: str) -> None:
        self.not_taken.append(NotTaken(line=line, text=shorten(text), why=why))

    def _add(self, key: str, value: str, line: Line) -> None:
        """Add a value to a list of the recipe, once."""
        values = self.document.setdefault(key, [])
        if value not in values:
            values.append(value)
            self._conclude(key, value, line)

    def _find_name(self) -> str:
        poetry = self.pyproject.get("tool", {}).get("poetry", {})
        return str(self.pyproject.get("project", {}).get("name") or poetry.get("name") or "")

    def _read_name(self) -> None:
        project = self.pyproject.get("project", {})
        poetry = self.pyproject.get("tool", {}).get("poetry", {})
        name = self._find_name()
        line = Line(file=str(self.folder))
        if name:
            name_of_file = posixpath.join(self.member, "pyproject.toml")
            line = find_line(self.folder / "pyproject.toml", r"\s*name\s*=", name_of_file)
        self.document["name"] = self.name or to_image_name(name or self.folder.resolve().name)
        self._conclude("name", self.document["name"], line)
        description = project.get("description") or poetry.get("description") or ""
        self.document["title"] = shorten(str(description), 200)
        if self.member:
            self.document["workdir"] = self.member

    def _list_statements(self, found: FoundDockerfile | None) -> list[PythonStatement]:
        statements = [*read_statements(self.folder, self.pyproject, self.member)]
        if self.member:
            statements += read_statements(self.root, {})
        if found and (statement := read_image_statement(found.stage.base, found.stage.base_line)):
            statements.append(statement)
        return statements

    def _read_base(
        self, statements: Sequence[PythonStatement], found: FoundDockerfile | None
    ) -> None:
        if self.base:
            self.document["base"] = self.base
            self._conclude("base", self.base, Line(file="--base"))
            return
        version = choose_version(statements)
        if version is None:
            return  # the contradiction is an error
        image = found.stage.base if found else None
        base = choose_base(image, version)
        self.document["base"] = base
        for statement in statements:
            self._conclude("base", f"{base} ({statement.text})", statement.line)
        if not statements:
            self.unknown.append(
                "the version of Python: there is no requires-python, no .python-version and no "
                f"FROM python:…; Python {version} is used"
            )
        if found and image != base:
            self._skip(found.stage.base_line, f"FROM {image}", f"the base image is {base}")

    def _read_dockerfile(self, found: FoundDockerfile) -> None:
        stage = found.stage
        context = self._relate(found.context)
        if self.member and stage.workdir.endswith(f"/{self.member}"):
            context = "."  # it is built from the root: its folder there is the member's own
        self.layout = ImageLayout(root=self.root, context=context, folder="", copied=stage.copied)
        folder = choose_folder(stage, self.root, self.layout.context)
        self.layout = ImageLayout(
            root=self.root, context=self.layout.context, folder=folder, copied=stage.copied
        )
        self.document["folder"] = folder
        if folder != DEFAULT_FOLDER:
            self._conclude("folder", folder, stage.line)
        workdir = find_workdir(self.layout, stage.workdir)
        if workdir or not self.member:
            self.document["workdir"] = workdir
        if workdir:
            self._conclude("workdir", workdir, stage.line)
        self._read_environment(stage)
        self._read_all_runs(found)
        self._read_user(stage)
        self._list_other_instructions(found)

    def _relate(self, context: str) -> str:
        """Return the build context relative to the source; it may be above it."""
        root = self.root.relative_to(self.repository).as_posix()
        return posixpath.relpath(context, root)

    def _read_environment(self, stage: Stage) -> None:
        environment: dict[str, str] = {}
        for key, (value, line) in stage.environment.items():
            if OWN_VARIABLES.fullmatch(key):
                self._skip(line, f"ENV {key}", "the image sets this itself")
            elif not value:
                continue  # from an ARG that the build was to give
            elif not value.isprintable() or not re.fullmatch(r"[A-Za-z_]\w*", key):
                self._skip(line, f"ENV {key}", "its value is not one printable line")
            else:
                parts = [translate_word(part, self.layout, "") for part in value.split(":")]
                environment[key] = ":".join(parts)
                self._conclude(f"environment.{key}", environment[key], line)
        self.document["environment"] = environment

    def _read_all_runs(self, found: FoundDockerfile) -> None:
        """Read the RUN instructions of the stage, and of those that it copies from."""
        stage = found.stage
        final = read_runs(stage.runs)
        used = [*stage.stages_used]
        own = {run.line for run in stage.runs}
        builders: list[RunInstruction] = []
        for other in reversed(found.stages):
            if other.name in used and other.uses_python:
                used += other.stages_used
                builders += [run for run in other.runs if run.line not in own]
        building = read_runs(builders)
        self._add_packages(final, building)
        for findings in (final, building):
            self._add_selection(findings)
            self.not_taken += findings.not_taken
            for argv, line in findings.steps:
                step = list(translate_argv(argv, self.layout, stage.workdir))
                self.document.setdefault("build_steps", []).append(step)
                self._conclude("build_steps", shlex.join(step), line)
        installs = [*building.installs, *final.installs]
        if installs and not any(includes for includes, _ in installs):
            self.document["install_project"] = False
            self._conclude("install_project", "false", installs[-1][1])
        self._choose_requirements([*building.requirements, *final.requirements], stage.workdir)
        for folder, line in final.folders:
            self._add_writable(folder, line)

    def _choose_requirements(self, files: Sequence[tuple[str, Line]], workdir: str) -> None:
        """Take the requirements that the Dockerfile installs, if there is no lock of a tool."""
        if any((place / name).is_file() for place in (self.folder, self.root) for name in _LOCKS):
            return
        for name, line in reversed(files):
            found = self.layout.find(posixpath.normpath(posixpath.join(workdir, name)))
            relative = posixpath.relpath(
                found or f"{self.layout.folder}/{name}", self.layout.folder
            )
            path = self.root / relative
            folder = self.folder.resolve()
            if path.is_file() and path.resolve().is_relative_to(folder):
                self.document["lock"] = path.resolve().relative_to(folder).as_posix()
                self._conclude("lock", self.document["lock"], line)
                return

    def _add_selection(self, findings: RunFindings) -> None:
        for key, entries in (("extras", findings.extras), ("groups", findings.groups)):
            for value, line in entries:
                names = self._list_all(key) if value == ALL else [value]
                for name in names:
                    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
                        self._add(key, name, line)

        for name, line in findings.members:
            self._choose_member(name, line)

    def _choose_member(self, name: str, line: Line) -> None:
        """Take the member that the Dockerfile installs, if the project is a workspace's root."""
        workspace = None if self.member or "package" in self.document else find_workspace(self.root)
        folder = workspace.members.get(str(canonicalize_name(name))) if workspace else None
        if folder and folder != ".":
            self.document["package"] = name
            self._conclude("package", name, line)

    def _list_all(self, key: str) -> list[str]:
        """Return all extras or groups that the project has."""
        poetry = self.pyproject.get("tool", {}).get("poetry", {})
        if key == "groups":
            return [*self.pyproject.get("dependency-groups", {}), *poetry.get("group", {})]
        project = self.pyproject.get("project", {})
        return [*project.get("optional-dependencies", {}), *poetry.get("extras", {})]

    def _add_writable(self, folder: str, line: Line) -> None:
        prefix = f"{self.document['folder']}/"
        path = posixpath.normpath(folder)
        relative = path.removeprefix(prefix)
        if path == self.document["folder"]:
            return
        if path.startswith(prefix) and re.fullmatch(r"[A-Za-z0-9._/-]+", relative):
            self._add("writable", relative, line)
        elif not folder.startswith(("/tmp", "/var/lib/apt", "/root")):
            self._skip(line, f"mkdir {folder}", "mount a volume there if the application writes")

    def _add_packages(self, final: RunFindings, building: RunFindings) -> None:
        """Sort packages: the run stage gets no compilers and no headers."""
        run_names = {word.name for word in final.packages}
        for word in (*final.packages, *building.packages):
            name, is_final = word.name, word.name in run_names
            if is_third_party(name):
                self._skip(
                    word.line, name, "Debian has no such package, only an archive of its maker"
                )
            elif name in COMPILERS or not is_final:
                self._add("build_packages", name, word.line)
            elif name in RUNTIME_LIBRARIES:
                self._add("build_packages", name, word.line)
                self._add("run_packages", RUNTIME_LIBRARIES[name], word.line)
            else:
                self._add("run_packages", name, word.line)

    def _read_user(self, stage: Stage) -> None:
        if stage.user is None or stage.user[0] in ("root", "0"):
            return
        user, line = stage.user
        self._skip(line, f"USER {user}", "the image has a user of its own: app, 10001")

    def _list_other_instructions(self, found: FoundDockerfile) -> None:
        stage = found.stage
        for instruction in stage.other:
            if instruction.keyword in _SILENT:
                continue
            why = "a recipe has no such thing"
            if instruction.keyword in ("COPY", "ADD"):
                why = "a file of the Dockerfile itself: put it into the project"
                if "from" in instruction.flags:
                    if self._is_python_stage(instruction.flags["from"], found):
                        continue  # what it installs comes from the lock
                    why = "a file of another image: put it into the project"
                    if re.search(r"\buv\b", instruction.flags["from"]):
                        continue
            elif instruction.keyword == "VOLUME":
                why = "mount a volume there"
            self._skip(instruction.line, instruction.text, why)
        for copied in stage.copied:
            for source in copied.sources:
                origin = posixpath.normpath(posixpath.join(self.layout.context, source.lstrip("/")))
                if origin.startswith("..") or "://" in source:
                    text = f"COPY {source} {copied.target}"
                    self._skip(copied.line, text, "it is outside of the project's folder")
        parents = {run.line for run in stage.runs}
        for other in found.stages:
            text = f"stage {other.name} (FROM {other.base})"
            is_parent = other.base_line == stage.base_line and all(
                run.line in parents for run in other.runs
            )
            if other.name in stage.stages_used and not other.uses_python:
                why = "its files are not built: build them before, and put them into the project"
                self._skip(other.line, text, why)
            elif other.name not in stage.stages_used and not is_parent:
                self._skip(other.line, text, f"the image is stage {stage.name}")

    def _is_python_stage(self, name: str, found: FoundDockerfile) -> bool:
        stages = {stage.name: stage for stage in found.stages}
        return name.lower() in stages and stages[name.lower()].uses_python

    def _read_starts(self, search: DockerfileSearch) -> None:
        """Find the start commands. The order: Dockerfile, compose file, Procfile."""
        found = search.found
        places = [*dict.fromkeys((self.folder, self.root))]
        existing = [place / "Procfile" for place in places if (place / "Procfile").is_file()]
        processes, skipped = read_procfile([*existing, places[0] / "Procfile"][0], "Procfile")
        self.not_taken += skipped
        service = self._find_service(search)
        starts: list[dict[str, Any]] = []
        own_command = self._strip_init(found.stage.command) if found else ()
        if found and own_command and not names_program(own_command):
            why = "it names no program: the start command comes from who runs the container"
            self._skip(found.stage.command_line, shlex.join(own_command), why)
            own_command = ()
        if found and own_command:
            stage = found.stage
            workdir = stage.workdir
            argv = own_command
            argv = translate_argv(strip_runner(argv), self.layout, workdir)
            argv = strip_environment(argv, list_environments(found.stages))
            starts.append(self._make_start("main", argv, stage.command_line, stage, service))
            if service and service.argv and service.argv != stage.command:
                why = f"the command of {found.name} is used"
                self._skip(service.command_line, shlex.join(service.argv), why)
        elif service and service.argv:
            argv = strip_runner(service.argv)
            if found:
                argv = translate_argv(argv, self.layout, found.stage.workdir)
            stage_or_none = found.stage if found else None
            starts.append(
                self._make_start("main", argv, service.command_line, stage_or_none, service)
            )
        for process in processes:
            if starts and "from_procfile" not in starts[0]:
                why = "the command above is used; a recipe can have it as another start"
                self._skip(process.line, shlex.join(process.argv), why)
                continue
            start: dict[str, Any] = {"name": process.name, "argv": list(process.argv)}
            if process.uses_port or process.name == "web":
                environment = self.document.setdefault("environment", {})
                environment.setdefault("PORT", str(PROCFILE_PORT))
                given = environment["PORT"] if environment["PORT"].isdigit() else PROCFILE_PORT
                start["port"] = (
                    find_port(process.argv)
                    or find_configured_port(self._localize(process.argv), self.folder)
                    or int(given)
                )
                self._conclude(f"starts.{process.name}.port", str(start["port"]), process.line)
            elif port := find_port(process.argv) or guess_port(process.argv):
                start["port"] = port
            if "port" not in start:
                start["seconds"] = _ALONE_SECONDS
            start["from_procfile"] = True
            self._conclude(f"starts.{process.name}", shlex.join(process.argv), process.line)
            starts.append(start)
        for other in search.services:
            if other is not service and other.argv and other.argv != (service and service.argv):
                why = "a recipe can have it as another start"
                self._skip(other.command_line, f"{other.name}: {shlex.join(other.argv)}", why)
        for start in starts:
            start.pop("from_procfile", None)
        self.document["starts"] = starts
        if not starts:
            self.unknown.append(self._describe_missing_start(search))

    def _strip_init(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command without an init program that no Debian package of the recipe brings."""
        name = argv[0].rpartition("/")[2] if argv else ""
        if name not in _INIT_PROGRAMS or name in self.document.get("run_packages", ()):
            return argv
        rest = argv[1:]
        while rest and rest[0].startswith("-"):
            rest = rest[1:]
        return rest

    def _find_service(self, search: DockerfileSearch) -> Any:
        if search.found and search.found.service:
            return search.found.service
        name = search.found.name if search.found else None
        return next(
            (service for service in search.services if name in (None, service.dockerfile)), None
        )

    def _make_start(
        self, name: str, argv: Sequence[str], line: Line, stage: Stage | None, service: Any
    ) -> dict[str, Any]:
        start: dict[str, Any] = {"name": name, "argv": list(argv)}
        if tuple(argv[:2]) == ("uv", "run"):
            selected = RunFindings()
            read_selection(argv, line, selected)
            self._add_selection(selected)
        self._conclude(f"starts.{name}", shlex.join(argv), line)
        health_port, health = self._read_health(stage) if stage else (0, "")
        exposed = list(stage.exposed) if stage else []
        variables = {key: value for key, (value, _) in stage.environment.items()} if stage else {}
        named = find_port(argv, variables) or find_configured_port(
            self._localize(argv), self.root / self.document.get("workdir", "")
        )
        compose_port = service.port if service else 0
        numbers = [port for port, _ in exposed]
        port = named or health_port or (numbers or [0])[0] or guess_port(argv) or compose_port
        if port:
            start["port"] = port
            port_line = next((at for number, at in exposed if number == port), line)
            self._conclude(f"starts.{name}.port", str(port), port_line)
        else:
            start["seconds"] = _ALONE_SECONDS
        for number, at in exposed:
            if number != port:
                self._skip(at, f"EXPOSE {number}", f"a start has one port: {port}")
        if health and port and stage and stage.health:
            start["health"] = health
            self._conclude(f"starts.{name}.health", health, stage.health[1])
        return start

    def _localize(self, argv: Sequence[str]) -> list[str]:
        """Return a command with our paths of the project's files as they are in its source."""
        prefix = f"{self.document.get('folder', DEFAULT_FOLDER)}/"
        return [word.replace(prefix, f"{self.root}/") for word in argv]

    def _read_health(self, stage: Stage) -> tuple[int, str]:
        """Return port and path of an HTTP HEALTHCHECK."""
        if stage.health is None:
            return 0, ""
        match = _URL.search(stage.health[0])
        if match is None:
            if "NONE" not in stage.health[0]:
                self._skip(stage.health[1], stage.health[0], "not a request for a URL")
            return 0, ""
        return int(match[1] or 80), match[2] or "/"

    def _describe_missing_start(self, search: DockerfileSearch) -> str:
        looked_at = [*search.looked_at, "Procfile", "compose.yaml"]
        text = "the start command: looked at " + ", ".join(dict.fromkeys(looked_at))
        scripts = self.pyproject.get("project", {}).get("scripts", {})
        scripts = scripts or self.pyproject.get("tool", {}).get("poetry", {}).get("scripts", {})
        if scripts:
            text += f"; pyproject.toml has the program {', '.join(list(scripts)[:5])}"
        programs = [
            name for name in ("manage.py", "main.py", "app.py") if (self.folder / name).is_file()
        ]
        if programs:
            text += f"; the folder has {', '.join(programs)}"
        if argv := suggest_start(self.folder, scripts):
            text += f"; perhaps --set 'starts.main.argv={json.dumps(argv)}'"
        return text

    def _read_example(self) -> None:
        """Read the example of the project's settings that is nearest to it."""
        for place in dict.fromkeys((self.folder, self.root, self.repository)):
            found = [*read_example_settings(place)]
            if found:
                self.example = {setting.name: setting.value for setting in found}
                file = found[0].line.file
                self._conclude("proof_environment", ", ".join(self.example), Line(file=file))
                return

    def _read_settings(self, search: DockerfileSearch) -> None:
        """Settings for the proof: the compose file's, and an example file's."""
        service = self._find_service(search)
        settings: dict[str, str] = {}
        image = self.document.get("environment", {})
        settings |= {key: value for key, value in self.example.items() if key not in image}
        if service:
            taken: list[str] = []
            for key, value in service.environment.items():
                is_usable = value.isprintable() and re.fullmatch(r"[A-Za-z_]\w*", key)
                if is_usable and not OWN_VARIABLES.fullmatch(key) and image.get(key) != value:
                    settings[key] = value
                    taken.append(key)
            if taken:
                self._conclude("proof_environment", ", ".join(taken), service.line)
            for host in service.others:
                if re.fullmatch(r"[A-Za-z0-9._-]+", host):
                    self._add("expected_hosts", host, service.line)
        for host in find_hosts(iter([*settings.values(), *image.values()])):
            self._add("expected_hosts", host, Line(file="the settings"))
        self.document["proof_environment"] = settings

    def _make_recipe(self) -> ApplicationRecipe:
        document = {key: value for key, value in self.document.items() if value or value is False}
        return parse_application_recipe(document, self.folder)


def read_project(
    root: Path, member: str = "", name: str | None = None, base: str | None = None
) -> ProjectReading:
    """Read a project at ``root``, or a member of its workspace. Nothing of it is run.

    ``base`` is the user's base image. Raises InputError for a file that cannot be read.
    """
    return ProjectReader(root, member, name, base).read()


def to_image_name(name: str) -> str:
    """Return a project's name as the name of an image."""
    return re.sub(r"[^a-z0-9]+", "-", canonicalize_name(name)).strip("-") or "application"


def find_port(argv: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
    """Return the port that a command names, 0 if it names none."""
    text = " ".join(argv)
    for name, value in (variables or {}).items():
        reference = rf"\$\{{?{re.escape(name)}\b(:?-[^}}]*)?\}}?"
        text = re.sub(reference, value.replace("\\", r"\\"), text)
    text = re.sub(r"\$\{\w+:?-(\d+)\}", r"\1", text)
    match = _PORT_WORDS.search(text)
    port = int(match[1]) if match else 0
    return port if 0 < port < 65536 else 0


def guess_port(argv: Sequence[str]) -> int:
    """Return the port that the server in a command listens at by itself, 0 for no known server."""
    programs = (word.rpartition("/")[2] for word in " ".join(argv).split())
    return next((_DEFAULT_PORTS[name] for name in programs if name in _DEFAULT_PORTS), 0)
