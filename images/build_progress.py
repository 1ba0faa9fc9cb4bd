"""Describe the steps of a build, and relate attempts to leave the sandbox to them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from images.advice import Advice, assign_list
from images.application_dockerfile import INSTALLER, SOURCE_FOLDER
from images.debian_packages import RUNTIME_LIBRARIES, find_build_packages
from images.engine.build_log import shorten_step
from images.sandbox import NetworkAttempt, Sandbox
from mirror.core.errors import EngineError
from mirror.core.progress import Progress

_DESCRIPTIONS = {  # part of a Dockerfile's line → what it does
    f'{INSTALLER}", "install"': "install the packages, compile their bytecode",
    f'{INSTALLER}", "project"': "install the project",
    '"-m", "venv"': "create an environment",
    '"-m", "pip", "install"': "install uv",
    "COPY --from=builder": "copy the environment into the run stage",
    f'COPY ["{SOURCE_FOLDER}/"': "copy the source",
    f'["{SOURCE_FOLDER}/"': "copy the source into the run stage",
    "COPY --from=project": "copy what the project added",
}
_ADVICE = (  # pattern of an installer's message → next step
    (
        r"No module named '?pkg_resources",
        "what is compiled needs a setuptools that still has pkg_resources: add "
        'build-constraint-dependencies = ["setuptools<81"] to [tool.uv] in pyproject.toml, or '
        "build its wheel elsewhere, then --vendor NAME=WHEEL",
    ),
    (
        r"PermissionError: [^\n]*/\.venv/",
        "a step of the project (build_steps) writes into its packages, which belong to root: make "
        "those files before, as files of the project, and leave out the steps: --set "
        "'build_steps=[]'",
    ),
    (
        r'File "[^"]*manage\.py"',
        "a step of the project (build_steps) failed: give it what it needs, e.g. --set "
        "'build_environment.SECRET_KEY=\"x\"', or leave out the steps: --set 'build_steps=[]'",
    ),
    (
        r"build-backends\.txt does not pin it",
        "build the wheel on another machine, then --vendor NAME=WHEEL",
    ),
    (
        r"[Hh]ash mismatch",
        "the mirror has another file than the lock: `mirror verify` shows whether it was "
        "damaged there; if the project replaced its files, lock again (uv lock --upgrade-package)",
    ),
    (
        r"no wheels with a matching|not compatible with the current|has no usable wheels",
        "the locked version has no file for Linux and this Python: lock a version that has one, "
        "give one with --vendor NAME=WHEEL, or add a marker (; sys_platform == 'win32')",
    ),
    (
        r"was not found in the package registry|no version of|there are no versions of",
        "the mirror does not have the file: check that `mirror warm LOCK` finds it, or give "
        "--vendor NAME=WHEEL",
    ),
)


class BuildProgress:
    """A Progress that also records during which step each attempt to leave the sandbox happened."""

    def __init__(self, progress: Progress, sandbox: Sandbox) -> None:
        self._progress, self._sandbox = progress, sandbox
        self._step = ""
        self.attempts: list[tuple[str, NetworkAttempt]] = []

    def step(self, text: str) -> None:
        self._progress.step(text)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def count(self, done: int, total: int, text: str = "") -> None:
        self.record_attempts()
        self._step = text
        self._progress.count(done, total, describe_step(text))

    def record_attempts(self) -> None:
        """Assign the attempts since the last call to the current step."""
        recent = self._sandbox.attempts()[len(self.attempts) :]
        self.attempts += [(self._step, attempt) for attempt in recent]


def describe_step(step: str) -> str:
    """Return what a line of our Dockerfiles does; any other line is shortened."""
    described = (text for part, text in _DESCRIPTIONS.items() if part in step)
    return next(described, shorten_step(step, 50))


def describe_attempts(attempts: Sequence[NetworkAttempt]) -> str:
    """Return a sentence with the first ten hosts."""
    hosts = dict.fromkeys(
        f"{attempt.host}:{attempt.port}" if attempt.port else attempt.host for attempt in attempts
    )
    return "it tried to reach " + ", ".join(list(hosts)[:10])


def explain_failure(error: EngineError, output: str, sandbox: Sandbox) -> tuple[str, ...]:
    """Add to the error of a failed build what the sandbox has seen, and advice.

    ``output`` is what the failed step printed. Returns the assignments of the recipe that the
    advice speaks of.
    """
    if advice := advise_on_output(output):
        error.next_step = f"{advice.text}; {error.next_step}"
    if relay_error := sandbox.relay_error():
        error.why = relay_error + "\n" + error.why
    if attempts := sandbox.attempts():
        error.why = describe_attempts(attempts) + "\n" + error.why
    return advice.changes if advice else ()


def advise_on_output(output: str) -> Advice | None:
    """Return what to do about a failed step, by what it printed."""
    conflict = re.search(r"you require (\S+) and ([\w.-]+)==\S+, we can conclude", output)
    if conflict and conflict[1].startswith(conflict[2]):
        constraint = assign_list("build_constraints", [conflict[1]])
        text = f"the build of a package needs {conflict[1]}, and another version is pinned here"
        if conflict[2].lower() != "cython":
            return Advice(text=text, changes=(constraint,))
        return Advice(
            text=f"{text}; what it writes is compiled, for which a compiler is needed",
            changes=(constraint, assign_list("build_packages", ["build-essential"])),
        )
    for pattern, text in _ADVICE:
        if re.search(pattern, output):
            return Advice(text=text)
    if own := re.search(r"Failed to build [`']?([\w.-]+) @ file:///project\b", output):
        return Advice(
            text=f"the project {own[1]} itself cannot be installed: correct its build-system, or, "
            "if it runs from its folder, do not install it",
            changes=("install_project=false",),
        )
    failed = re.search(r"Failed to build [`']?([\w.-]+)(?:==|-| @ |[`'])", output)
    subject = f"{failed[1]} is compiled: it" if failed else "what is compiled"
    if packages := find_build_packages(output):
        libraries = [RUNTIME_LIBRARIES[name] for name in packages if name in RUNTIME_LIBRARIES]
        changes = [assign_list("build_packages", packages)]
        if libraries:
            changes.append(assign_list("run_packages", libraries))
        return Advice(
            text=f"{subject} needs the Debian packages {', '.join(packages)}",
            changes=tuple(changes),
        )
    if header := re.search(r"fatal error: ([\w/.+-]+\.h): No such file", output):
        return Advice(
            text=f"{subject} needs the header {header[1]}: `apt-file search {header[1]}` names its "
            "Debian package, for the recipe's build_packages"
        )
    if failed:
        return Advice(
            text=f"{failed[1]} has no wheel for this Python and platform, and cannot be compiled "
            f"here: lock a version that has one, or build it elsewhere, then --vendor "
            f"{failed[1]}=WHEEL"
        )
    return None
