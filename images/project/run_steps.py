"""Sort the commands of RUN instructions: system packages, installers, steps of the project."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from images.project.dockerfile_stages import RunInstruction, Stage
from images.project.reading import Line, NotTaken, shorten
from images.project.shell import ShellCommand, list_commands
from images.project.system_packages import (
    PackageWord,
    is_housekeeping,
    is_install_command,
    read_install_command,
)

# commands of the project itself that make files for its start; nothing else is run unasked
_OWN_STEPS = {"collectstatic", "compilemessages", "compress"}
ALL = "*"  # every extra, every group
_INSTALLERS = {"pip", "uv", "poetry", "pdm", "pipenv", "hatch", "rye", "pipx"}
_TOOLS = {"pip", "setuptools", "wheel", "uv", "poetry", "pdm", "pipenv", "poetry-plugin-export"}
_OUR_OWN = ("useradd", "adduser", "groupadd", "addgroup", "usermod", "chown", "chmod", "cd", "ln")
_OTHER_MANAGERS = ("apk", "dnf", "yum", "microdnf")
_RUNNERS = (("uv", "run"), ("poetry", "run"), ("pdm", "run"), ("pipenv", "run"))
_RUN_VALUES = {  # options of `uv run` with a value
    *("--package", "--extra", "--group", "--only-group", "--no-group", "--with", "--env-file"),
    *(
        "--project",
        "--directory",
        "--python",
        "-p",
        "--index",
        "--default-index",
        "--with-editable",
    ),
}
_MAKES_ENVIRONMENT = re.compile(r"^(\S*python[0-9.]* -m (venv|virtualenv)|virtualenv|uv venv)\b")
_LEAVES_PROJECT = {"--no-root", "--no-self"}
_EXTRAS = re.compile(r"[A-Za-z0-9._/-]*\[([A-Za-z0-9._, -]+)\]")


@dataclass(slots=True, kw_only=True)
class RunFindings:
    """What the RUN instructions of a stage say."""

    packages: list[PackageWord] = field(default_factory=list)
    steps: list[tuple[tuple[str, ...], Line]] = field(default_factory=list)
    extras: list[tuple[str, Line]] = field(default_factory=list)
    groups: list[tuple[str, Line]] = field(default_factory=list)
    members: list[tuple[str, Line]] = field(default_factory=list)
    requirements: list[tuple[str, Line]] = field(default_factory=list)
    # what pip installs by name, beside the project's own lists
    named: list[str] = field(default_factory=list)
    folders: list[tuple[str, Line]] = field(default_factory=list)
    # (whether the project itself is installed, line) of each installation of a lock's packages
    installs: list[tuple[bool, Line]] = field(default_factory=list)
    not_taken: list[NotTaken] = field(default_factory=list)


def read_runs(runs: Sequence[RunInstruction]) -> RunFindings:
    """Return what the RUN instructions install, and which of their commands are not taken."""
    findings = RunFindings()
    for run in runs:
        for script in run.scripts:
            _read_script(script, run, findings)
    return findings


def _read_script(script: str, run: RunInstruction, findings: RunFindings) -> None:
    if script.startswith("#!") and not re.match(r"#!.*\b(ba|da|a)?sh\b", script):
        why = "a program of its own"
        findings.not_taken.append(NotTaken(line=run.line, text=shorten(run.text), why=why))
        return
    workdir, fallible = run.workdir, "||" in script
    for command in list_commands(script, run.variables):
        words = command.words
        if words[:1] == ("cd",) and len(words) == 2:
            workdir = words[1] if words[1].startswith("/") else f"{workdir}/{words[1]}"
        elif is_install_command(command) or (words[:1] == ("xargs",) and "install" in words):
            _read_packages(command, run.line, findings)
        elif is_housekeeping(command) or (not words and not command.unresolved):
            continue
        elif step := _find_own_step(command, run.variables):
            if fallible:
                why = "it may fail there; name it in build_steps to run it"
                findings.not_taken.append(NotTaken(line=run.line, text=command.text, why=why))
            else:
                findings.steps.append(((*_enter(workdir, run.workdir), *step), run.line))
        elif (installer := _find_installer(words)) is not None:
            _read_installer(installer, command, run.line, findings)
        elif words[:1] == ("mkdir",):
            folders = [word for word in words[1:] if not word.startswith("-")]
            findings.folders += [
                (f"{workdir}/{f}" if f[0] != "/" else f, run.line) for f in folders
            ]
        elif words[:1] and words[0] in _OTHER_MANAGERS and not {"add", "install"} & {*words}:
            continue
        elif words[:1] and words[0] in _OUR_OWN:
            continue  # the image has its own user and environment; a start gets its interpreter
        elif "astral.sh/uv" in command.text or "install.python-poetry" in command.text:
            continue
        elif command.is_filter and words[:1] and words[0] in ("sh", "bash", "python3", "python"):
            continue  # the download before it is listed
        else:
            why = "a step of its own; name it in build_steps if the start needs what it makes"
            findings.not_taken.append(
                NotTaken(line=run.line, text=shorten(command.text), why=_explain(words) or why)
            )


def _explain(words: Sequence[str]) -> str:
    program = words[0].rpartition("/")[2] if words else ""
    if program in ("curl", "wget", "add-apt-repository", "apt-key", "gpg"):
        return "a download: the build has no network; put the file into the project or a package"
    if program in ("npm", "yarn", "pnpm", "npx", "bun", "node"):
        return "a front end: build it before, and put its files into the project"
    if program in _OTHER_MANAGERS:
        return "the image is Debian: name its packages in run_packages"
    return ""


def _enter(workdir: str, usual: str) -> tuple[str, ...]:
    return () if workdir == usual else ("env", "-C", workdir)


def _read_packages(command: ShellCommand, line: Line, findings: RunFindings) -> None:
    for found in read_install_command(command, line):
        if isinstance(found, PackageWord):
            findings.packages.append(found)
        else:
            findings.not_taken.append(found)


def _find_own_step(command: ShellCommand, variables: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the argv of a step of Django that makes files."""
    words = command.words
    if not _OWN_STEPS.intersection(words) or command.unresolved:
        return None
    is_module = "-m" in words and "django" in words
    if not is_module and not any(word.endswith(("manage.py", "django-admin")) for word in words):
        return None
    names = {name: value for name, value in variables.items() if name in command.text}
    values = {**names, **command.assignments}
    prefix = ("env", *(f"{name}={value}" for name, value in values.items())) if values else ()
    return (*prefix, *strip_runner(words))


def strip_runner(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command without `poetry run` and the like: the image has the environment only."""
    if words[:2] in _RUNNERS and words[0] != "uv":
        return words[2:]
    return words


def names_program(words: Sequence[str]) -> bool:
    """Whether a command names a program: `uv run` alone gets one from who starts the container."""
    if tuple(words[:2]) not in _RUNNERS:
        return bool(words)
    rest = list(words[2:])
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        rest = rest[2 if rest[0] in _RUN_VALUES else 1 :]
    return bool(rest)


def list_environments(stages: Sequence[Stage]) -> frozenset[str]:
    """Return the folders of the virtual environments that the stages of a Dockerfile make."""
    found = set()
    for stage in stages:
        for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"):
            value, _ = stage.environment.get(name, ("", None))
            found.add(value)
        for run in stage.runs:
            for script in run.scripts:
                for command in list_commands(script, run.variables):
                    words = command.words
                    if _MAKES_ENVIRONMENT.search(" ".join(words[:3])):
                        found.add(posixpath.normpath(posixpath.join(run.workdir, words[-1])))
    return frozenset(filter(None, found))


def _find_installer(words: Sequence[str]) -> str | None:
    """Return pip, uv, … if the words install Python packages."""
    if not words:
        return None
    program = words[0].rpartition("/")[2]
    if (
        re.fullmatch(r"python3?(\.\d+)?", program)
        and tuple(words[1:2]) == ("-m",)
        and len(words) > 2
    ):
        program = words[2]
    if program in ("venv", "virtualenv"):
        return program
    program = re.sub(r"^pip3?(\.\d+)?$", "pip", program)
    return program if program in _INSTALLERS else None


def _read_installer(
    installer: str, command: ShellCommand, line: Line, findings: RunFindings
) -> None:
    """Read what an installation selects; the packages themselves come from the lock."""
    words = command.words
    before = list(findings.requirements)
    values = read_selection(words, line, findings)
    if command.is_conditional:  # the last list counts: first those of a branch
        findings.requirements[:] = [*findings.requirements[len(before) :], *before]
    if (installs := _installs_project(installer, words)) is not None:
        findings.installs.append((installs, line))
    if not ("install" in words and (installer == "pip" or "pip" in words[:3])):
        return
    taken = {value for _, value in values}
    for word in words[words.index("install") + 1 :]:
        if word.startswith("-") or word in taken:
            continue
        if (extras := _EXTRAS.fullmatch(word)) and word.startswith((".", "/")):
            names = re.split(r"[ ,]+", extras[1])
            findings.extras += [(name, line) for name in names if name]
            continue
        name = re.split(r"[\[=<>~!@ ]", word)[0]
        if word.startswith((".", "/")) or name.lower() in _TOOLS or word.endswith(".whl"):
            continue
        if re.fullmatch(r"[A-Za-z0-9][\w.-]*(\[[\w., -]+\])?([=<>~!].*)?", word):
            findings.named.append(word)
        why = "packages come from the lock only: add it there if it is not in it"
        findings.not_taken.append(NotTaken(line=line, text=f"pip install {word}", why=why))


def _installs_project(installer: str, words: Sequence[str]) -> bool | None:
    """Whether a command installs the project itself, None if it installs nothing of a project."""
    if installer == "pip" or "pip" in words[:3]:
        own = any(re.fullmatch(r"(\.|/[\w./-]*|\./\S*)(\[.*\])?", word) for word in words)
        return True if "install" in words and own else None
    if not {"sync", "install"}.intersection(words[1:3]):
        return None
    if installer == "uv" and "--no-install-project" in words:
        return None  # `uv run` installs it at the start
    return not _LEAVES_PROJECT.intersection(words)


def read_selection(
    words: Sequence[str], line: Line, findings: RunFindings
) -> list[tuple[str, str]]:
    """Add the extras, groups and files that a command of uv, pip, Poetry or PDM selects.

    Returns all of its options that have a value.
    """
    values = _read_options(words)
    findings.extras += [(ALL, line)] if "--all-extras" in words else []
    findings.groups += [(ALL, line)] if "--all-groups" in words else []
    for option, value in values:
        names = [(name, line) for name in re.split(r"[ ,]+", value) if name]
        if option in ("--extra", "--extras", "-E"):
            findings.extras += names
        elif option in ("--group", "-G", "--with", "--only-group"):
            findings.groups += names
        elif option == "--package":
            findings.members.append((value, line))
        elif option in ("-r", "--requirement", "--requirements"):
            findings.requirements.append((value, line))
    return values


def _read_options(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the options that have a value, as `--name value`, `--name=value` or `-Nvalue`."""
    pairs: list[tuple[str, str]] = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            pairs.append((name, value))
        elif re.fullmatch(r"-[rEG].+", word):
            pairs.append((word[:2], word[2:]))
        elif word.startswith("-") and following and not following.startswith("-"):
            pairs.append((word, following))
    return pairs
