"""Read a Dockerfile with BuildKit's own parser, and follow its stages as a build would."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from images.project.reading import Line
from images.project.shell import split_plain_command
from mirror.core.errors import InputError

_DEFAULT_SHELL = ("/bin/sh", "-c")
_PYTHON_USE = re.compile(r"\b(python[0-9.]*|pip[0-9.]*|uv|poetry|pdm|pipenv|uvicorn|gunicorn)\b")
_SERVING_STAGES = (
    *("production", "prod", "release", "runtime", "runner", "run", "final", "app", "deploy"),
    *("web", "server", "api", "backend", "django", "main"),
)
_OTHER_STAGES = re.compile(
    r"(^|[-_.])(dev|devel|development|test|tests|testing|ci|lint|docs?|debug|local|e2e|cypress)"
    r"($|[-_.])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction; ``words`` are as BuildKit splits them, with quotes and variables."""

    keyword: str
    words: tuple[str, ...]
    flags: Mapping[str, str]
    is_json: bool
    heredocs: tuple[str, ...]
    text: str
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCommand:
    """A CMD or an ENTRYPOINT. ``words`` has one element, a script, in shell form."""

    words: tuple[str, ...]
    is_shell: bool
    shell: tuple[str, ...]
    line: Line

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments; a script that needs a shell gets one."""
        if not self.is_shell:
            return self.words
        return split_plain_command(self.words[0]) or (*self.shell, self.words[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedPath:
    """A COPY or ADD from the build context; ``target`` is absolute, and ends in / for a folder."""

    sources: tuple[str, ...]
    target: str
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInstruction:
    """A RUN: its scripts, and the variables that it sees."""

    scripts: tuple[str, ...]
    variables: Mapping[str, str]
    workdir: str
    line: Line
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage as it is at its end, with everything that it inherits from an earlier stage.

    ``base`` is the external image. ``stages_used`` are the stages that it copies from.
    ``environment`` and ``exposed`` have the line of each entry.
    """

    name: str
    base: str
    line: Line
    base_line: Line
    environment: Mapping[str, tuple[str, Line]] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: tuple[str, Line] | None = None
    exposed: tuple[tuple[int, Line], ...] = ()
    entrypoint: ContainerCommand | None = None
    cmd: ContainerCommand | None = None
    health: tuple[str, Line] | None = None
    shell: tuple[str, ...] = _DEFAULT_SHELL
    copied: tuple[CopiedPath, ...] = ()
    runs: tuple[RunInstruction, ...] = ()
    stages_used: tuple[str, ...] = ()
    other: tuple[Instruction, ...] = ()

    @property
    def uses_python(self) -> bool:
        """Whether the stage has Python: by its image, or by what it runs."""
        texts = [self.base, *(run.text for run in self.runs), " ".join(self.command)]
        return any(_PYTHON_USE.search(text) for text in texts)

    @property
    def command(self) -> tuple[str, ...]:
        """What a container of the stage runs: ENTRYPOINT and CMD together; empty for neither."""
        entrypoint, cmd = self.entrypoint, self.cmd
        if entrypoint is None:
            return cmd.argv if cmd else ()
        if entrypoint.is_shell or cmd is None:
            return entrypoint.argv  # a shell-form ENTRYPOINT ignores CMD
        return (*entrypoint.argv, *(cmd.argv if not cmd.is_shell else (*cmd.shell, *cmd.words)))

    @property
    def command_line(self) -> Line:
        """Where the command is."""
        command = self.cmd or self.entrypoint
        return command.line if command else self.line


def read_stages(path: Path, name: str) -> tuple[Stage, ...]:
    """Return the stages of a Dockerfile, in their order. Raises InputError if it is malformed."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for instruction in read_instructions(path, name):
        if instruction.keyword == "FROM":
            stages.append(_open_stage(instruction, stages, arguments))
        elif not stages:
            if instruction.keyword == "ARG":
                arguments |= _read_arguments(instruction, arguments, {})
        else:
            stages[-1] = _apply(stages[-1], instruction, arguments)
    return tuple(stages)


def read_instructions(path: Path, name: str) -> tuple[Instruction, ...]:
    """Return the instructions of a Dockerfile. Raises InputError if it is malformed."""
    try:
        import dockerfile
    except ImportError as error:
        raise InputError(
            f"cannot read {name}: the library `dockerfile` is not installed",
            why="it has no wheel for this machine",
            next_step="install Go, then: pip install dockerfile; or use a recipe with --recipe",
        ) from error
    try:
        commands = dockerfile.parse_string(path.read_text(encoding="utf-8-sig", errors="replace"))
    except (dockerfile.GoIOError, dockerfile.GoParseError, OSError) as error:
        raise InputError(
            f"cannot read {name}",
            why=str(error),
            next_step="check that `docker build` accepts it, or use a recipe with --recipe",
        ) from error
    return tuple(
        Instruction(
            keyword=command.cmd.upper(),
            words=tuple(command.value),
            flags=dict(_split_flag(flag) for flag in command.flags),
            is_json=command.json,
            heredocs=tuple(heredoc.content for heredoc in command.heredocs),
            text=command.original.strip(),
            line=Line(file=name, number=command.start_line),
        )
        for command in commands
    )


def choose_stage(stages: tuple[Stage, ...], target: str | None = None) -> Stage | None:
    """Return the stage that is the application.

    It is the target, else a stage whose name says that it serves, else the last one that is not for
    development or tests. Stages without Python do not count.
    """
    if target is not None:
        return next((stage for stage in stages if stage.name == target.lower()), None)
    usable = [stage for stage in stages if stage.uses_python]
    # a last stage without Python does not start this application: it may be a web server for files
    candidates = [stage for stage in usable if not _OTHER_STAGES.search(stage.name)] or usable
    if not candidates:
        return None
    last = candidates[-1]
    if stages[-1] is last:
        return last
    for name in _SERVING_STAGES:
        for stage in candidates:
            if stage.name == name:
                return stage
    return next((stage for stage in reversed(candidates) if stage.command), last)


def _split_flag(flag: str) -> tuple[str, str]:
    key, _, value = flag.removeprefix("--").partition("=")
    return key, value


def _open_stage(
    instruction: Instruction, stages: list[Stage], arguments: Mapping[str, str]
) -> Stage:
    image = expand(instruction.words[0], arguments)
    has_name = len(instruction.words) >= 3 and instruction.words[1].upper() == "AS"
    name = instruction.words[2].lower() if has_name else str(len(stages))
    parent = next((stage for stage in stages if stage.name == image.lower()), None)
    if parent is None:
        return Stage(name=name, base=image, line=instruction.line, base_line=instruction.line)
    return replace(parent, name=name, line=instruction.line, arguments={})


def _apply(stage: Stage, instruction: Instruction, global_arguments: Mapping[str, str]) -> Stage:
    """Return the stage after an instruction."""
    variables = _variables(stage)
    words, line = instruction.words, instruction.line
    match instruction.keyword:
        case "ARG":
            found = _read_arguments(instruction, variables, global_arguments)
            return replace(stage, arguments={**stage.arguments, **found})
        case "ENV":
            # all values of one ENV see the variables as they were before it
            pairs = zip(words[::2], words[1::2], strict=False)
            new = {expand(key, variables): (expand(value, variables), line) for key, value in pairs}
            return replace(stage, environment={**stage.environment, **new})
        case "WORKDIR":
            workdir = posixpath.join(stage.workdir, expand(words[0], variables))
            return replace(stage, workdir=posixpath.normpath(workdir))
        case "USER":
            return replace(stage, user=(expand(words[0], variables), line))
        case "EXPOSE":
            ports = [expand(word, variables).partition("/")[0] for word in words]
            found_ports = [(int(port), line) for port in ports if port.isdigit()]
            return replace(stage, exposed=(*stage.exposed, *found_ports))
        case "SHELL":
            return replace(stage, shell=words)
        case "CMD":
            return replace(stage, cmd=_read_container_command(stage, instruction))
        case "ENTRYPOINT":
            entrypoint = _read_container_command(stage, instruction)
            # like a build: a CMD of an earlier stage does not belong to this ENTRYPOINT
            is_own = stage.cmd is not None and stage.cmd.line.number > stage.line.number
            return replace(stage, entrypoint=entrypoint, cmd=stage.cmd if is_own else None)
        case "HEALTHCHECK":
            return replace(stage, health=(expand(instruction.text, variables), line))
        case "COPY" | "ADD":
            return _apply_copy(stage, instruction, variables)
        case "RUN":
            return replace(stage, runs=(*stage.runs, _read_run(stage, instruction, variables)))
        case _:
            return replace(stage, other=(*stage.other, instruction))


def _apply_copy(stage: Stage, instruction: Instruction, variables: Mapping[str, str]) -> Stage:
    if "from" in instruction.flags:
        used = expand(instruction.flags["from"], variables).lower()
        stage = replace(stage, stages_used=(*stage.stages_used, used))
        return replace(stage, other=(*stage.other, instruction))
    if len(instruction.words) < 2 or instruction.heredocs:
        return replace(stage, other=(*stage.other, instruction))
    *sources, target = (expand(word, variables) for word in instruction.words)
    absolute = posixpath.join(stage.workdir, target)
    is_folder = target.endswith(("/", ".")) or len(sources) > 1
    absolute = posixpath.normpath(absolute) + ("/" if is_folder else "")
    copied = CopiedPath(sources=tuple(sources), target=absolute, line=instruction.line)
    return replace(stage, copied=(*stage.copied, copied))


def _read_run(
    stage: Stage, instruction: Instruction, variables: Mapping[str, str]
) -> RunInstruction:
    scripts: tuple[str, ...]
    if instruction.is_json:
        scripts = (shlex.join(instruction.words),)
    elif instruction.heredocs and re.match(r"<<-?\s*[\"']?\w+[\"']?\s*$", instruction.words[0]):
        scripts = instruction.heredocs
    else:
        scripts = instruction.words
    return RunInstruction(
        scripts=scripts,
        variables=variables,
        workdir=stage.workdir,
        line=instruction.line,
        text=instruction.text,
    )


def _read_container_command(stage: Stage, instruction: Instruction) -> ContainerCommand | None:
    if not instruction.words:
        return None  # CMD [] removes what was inherited
    return ContainerCommand(
        words=instruction.words,
        is_shell=not instruction.is_json,
        shell=stage.shell,
        line=instruction.line,
    )


def _read_arguments(
    instruction: Instruction, variables: Mapping[str, str], defaults: Mapping[str, str]
) -> dict[str, str]:
    found = {}
    for word in instruction.words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = expand(value, variables)
        elif name in defaults:
            found[name] = defaults[name]
    return found


def _variables(stage: Stage) -> dict[str, str]:
    """Return what instructions of a stage can refer to; ENV wins over ARG."""
    environment = {key: value for key, (value, _) in stage.environment.items()}
    return {**stage.arguments, **environment}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return a word of a Dockerfile with quotes removed and variables replaced, as BuildKit does.

    Unknown variables are empty.
    """
    return "".join(_expand_parts(text, variables))


_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])((?:[^{}]|\{[^{}]*\})*))?\})")


def _expand_parts(text: str, variables: Mapping[str, str]) -> Iterator[str]:
    position, quote = 0, ""
    while position < len(text):
        character = text[position]
        reference = _REFERENCE.match(text, position) if quote != "'" else None
        if reference:
            yield _resolve(reference, variables)
            position = reference.end()
            continue
        if character == "\\" and quote != "'" and position + 1 < len(text):
            following = text[position + 1]
            keeps_backslash = quote == '"' and following not in '"$\\'
            yield (character if keeps_backslash else "") + following
            position += 2
            continue
        if character in "\"'" and quote in ("", character):
            quote = "" if quote else character
        else:
            yield character
        position += 1


def _resolve(reference: re.Match[str], variables: Mapping[str, str]) -> str:
    bare, braced, operator, word = reference.groups()
    value = variables.get(bare or braced)
    is_set = bool(value) if operator and operator.startswith(":") else value is not None
    if operator and operator.endswith("+"):
        return expand(word, variables) if is_set else ""
    if operator and not is_set:
        return expand(word, variables)
    return value or ""
