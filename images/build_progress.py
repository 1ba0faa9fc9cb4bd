"""The steps of a Dockerfile, in words; which one called something else; what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from images.application_dockerfile import INSTALLER, SOURCE_FOLDER
from images.sandbox import NetworkAttempt, Sandbox
from mirror.core.errors import EngineError
from mirror.core.progress import Progress

_LONGEST = 50
_WORDS = {
    f'{INSTALLER}", "install"': "install the packages, compile their bytecode",
    f'{INSTALLER}", "project"': "install the project",
    '"-m", "venv"': "make an environment",
    '"-m", "pip", "install"': "install uv",
    "COPY --from=builder": "copy the environment into the run stage",
    f'COPY ["{SOURCE_FOLDER}/"': "copy the source",
    f'["{SOURCE_FOLDER}/"': "copy the source into the run stage",
    "COPY --from=project": "copy what the project added",
}
# what installers say → what to do
_ADVICE = (
    (
        r"build-backends\.txt does not pin it",
        "build the wheel where that may be fetched, then --vendor NAME=WHEEL",
    ),
    (
        r"[Hh]ash mismatch",
        "the mirror has another file than the lock: `mirror verify` tells whether it was "
        "damaged there; if the project changed its files, lock again (uv lock --upgrade-package)",
    ),
    (
        r"no wheels with a matching|not compatible with the current|has no usable wheels",
        "what is locked has no file for Linux and this Python: lock a version that has one, give "
        "one with --vendor NAME=WHEEL, or limit it by a marker (; sys_platform == 'win32')",
    ),
    (
        r"was not found in the package registry|no version of|there are no versions of",
        "the mirror has no such file: see that `mirror warm LOCK` finds it, or --vendor NAME=WHEEL",
    ),
)


class BuildProgress:
    """Progress that knows during which step of the Dockerfile something else was called."""

    def __init__(self, progress: Progress, watched: Sandbox) -> None:
        self._progress, self._jail = progress, watched
        self._step, self._seen = "", 0
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
        tried = self._jail.attempts()
        self.attempts += [(self._step, one) for one in tried[self._seen :]]
        self._seen = len(tried)


def describe_step(step: str) -> str:
    """What a step of our Dockerfiles does; others are told as they stand, shortened."""
    for part, words in _WORDS.items():
        if part in step:
            return words
    return step if len(step) <= _LONGEST else step[: _LONGEST - 1] + "…"


def describe_attempts(tried: Sequence[NetworkAttempt]) -> str:
    hosts = dict.fromkeys(f"{one.host}:{one.port}" if one.port else one.host for one in tried)
    return "it tried to reach " + ", ".join(list(hosts)[:10])


def explain_failure(broken: EngineError, watched: Sandbox) -> None:
    """Put what the jail saw into the error of a failed build, and what can be done."""
    for pattern, advice in _ADVICE:
        if re.search(pattern, broken.why):
            broken.next_step = f"{advice}; {broken.next_step}"
            break
    if why := watched.relay_error():
        broken.why = why + "\n" + broken.why
    if tried := watched.attempts():
        broken.why = describe_attempts(tried) + "\n" + broken.why
