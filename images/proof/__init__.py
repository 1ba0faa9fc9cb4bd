"""Prove that an image starts with no network, before it gets its name.

Each check is a module of this package with ``ORDER`` and ``check(subject) -> ProofResult``. This
module contains what the checks share: running programs of the image in a sandbox, and describing
attempts to reach hosts that the recipe does not expect.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from images.advice import Advice, advise_on_attempt
from images.application_recipe import ApplicationRecipe
from images.engine import EngineClient
from images.engine.containers import ContainerResult, ContainerSpec, run_to_end
from images.failure import is_allowed
from images.inside import read_program
from images.project_lock import ProjectLock
from images.sandbox import NetworkAttempt, Sandbox, open_sandbox
from mirror.core.codec import json_key
from mirror.core.progress import Progress

RunCheck: TypeAlias = "Callable[[str, Callable[[], ProofResult]], ProofResult]"
_HOOK = "/pypi-mirror/hook"
_HOOK_PROGRAMS = {  # name in the hook's folder → program of images/inside
    "sitecustomize.py": "sitecustomize.py",
    "pypi_mirror_raised.py": "raised.py",
    "pypi_mirror_modules.py": "modules.py",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What the proof needs to know of a project's files.

    ``folders`` are those of the project's members, relative to it; ``metadata_sha256`` is the hash
    of the files that say what is installed for it and for them. ``dependencies`` counts what the
    project itself says that it needs. ``optional`` maps distributions of extras and groups that the
    image does not have to the option that adds them. ``templates`` maps files that exist only as a
    template to that; ``template_files`` are the copies that the proof uses: path → text.
    """

    folders: tuple[str, ...] = ()
    metadata_sha256: str = ""
    dependencies: int = 0
    optional: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    template_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSubject:
    """An image and what it was built from."""

    engine: EngineClient
    image: str
    recipe: ApplicationRecipe
    lock: ProjectLock
    source: SourceFacts = field(default_factory=SourceFacts)
    progress: Progress

    def describe_program(
        self, argv: Sequence[str], script: str = "", sandbox: Sandbox | None = None, **env: str
    ) -> ContainerSpec:
        """Return how to run a program of the image as a pod would, in a sandbox or no network.

        With ``script``, a program of images/inside, ``argv`` are its arguments.
        """
        files = {
            f"{_HOOK}/{name}": read_program(name_here) for name, name_here in _HOOK_PROGRAMS.items()
        }
        if script:
            files[f"/pypi-mirror/{script}"] = read_program(script)
            argv = ("python3", f"/pypi-mirror/{script}", *argv)
        for path, text in {**self.source.template_files, **self.recipe.proof_files}.items():
            files[f"{self.recipe.folder}/{path}"] = text.encode()
        recipe_path = self.recipe.environment.get("PYTHONPATH", "")
        python_path = _HOOK + (f":{recipe_path}" if recipe_path else "")
        return ContainerSpec(
            image=self.image,
            argv=tuple(argv),
            network_mode=sandbox.network if sandbox else "none",
            pid_mode=sandbox.network if sandbox else None,
            environment={**self.recipe.proof_environment, **env, "PYTHONPATH": python_path},
            files=files,
        )

    def run_in_sandbox(
        self, argv: Sequence[str], name: str, script: str = ""
    ) -> tuple[ContainerResult, tuple[NetworkAttempt, ...]]:
        """Run a program to its end; return also its attempts to reach hosts.

        ``name`` is for errors.
        """
        with open_sandbox(self.engine, self.image) as sandbox:
            spec = self.describe_program(argv, script, sandbox)
            return run_to_end(self.engine, spec, name), sandbox.attempts()


class Outcome(StrEnum):
    """What became of a start command or of a module."""

    SERVED = "served"  # its port answers, and its health path if it has one
    WAITING = "waiting"  # alive, and asked for a declared service
    STOPPED = "stopped at a service"  # ended because a host that the recipe expects is not there
    IMPORTED = "imported"
    RUNNING = "running"  # alive; nothing more is known
    ENDED = "ended"  # with 0, and it had no port to serve
    LEFT_OUT = "left out"  # a module that the application does not need
    FAILED = "failed"

    @property
    def is_proof(self) -> bool:
        """Whether this shows that a start or a module works."""
        return self in (Outcome.SERVED, Outcome.WAITING, Outcome.STOPPED, Outcome.IMPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectOutcome:
    """The outcome of a start command or a module; ``asked_for`` are the hosts that it called."""

    name: str
    outcome: Outcome
    detail: str = ""
    asked_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """The result of a check. It has passed if ``faults`` is empty. `run_proof` sets ``check``.

    ``attempts`` are all hosts that programs tried to reach, including the expected ones;
    ``warnings`` say what was not proved, ``advice`` what to do about the faults, ``seconds`` how
    long the check took; ``reused`` is true for the result of an earlier proof.
    """

    check: str = ""
    summary: str = field(metadata=json_key("said"))
    faults: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    outcomes: tuple[SubjectOutcome, ...] = ()
    attempts: tuple[NetworkAttempt, ...] = field(default=(), metadata=json_key("tried"))
    advice: tuple[Advice, ...] = ()
    seconds: float = 0
    reused: bool = False


def run_proof(
    subject: ProofSubject, run_check: RunCheck = lambda _name, check: check()
) -> tuple[ProofResult, ...]:
    """Run every check, in order. A fault of the image is a result, never an exception.

    ``run_check`` gets the name of each check and a function that runs it.
    """
    modules = {
        info.name: importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    }
    results = []
    for name, module in sorted(modules.items(), key=lambda item: item[1].ORDER):
        subject.progress.step(f"proof: {name}")
        start = time.monotonic()
        result = run_check(name, partial(module.check, subject))
        seconds = round(time.monotonic() - start, 2)
        results.append(replace(result, check=name, seconds=seconds))
    return tuple(results)


def judge_proof(results: Sequence[ProofResult]) -> str:
    """Return "passed", "incomplete" (not all was proved), "failed" or "none"."""
    if not results:
        return "none"
    if any(result.faults for result in results):
        return "failed"
    return "incomplete" if any(result.warnings for result in results) else "passed"


def find_unexpected(
    attempts: Sequence[NetworkAttempt], allowed: Sequence[str]
) -> tuple[NetworkAttempt, ...]:
    """Return the attempt to reach each host that no pattern allows, with the most details."""
    unexpected: dict[str, NetworkAttempt] = {}
    for attempt in attempts:
        known = unexpected.get(attempt.host)
        if not is_allowed(attempt.host, allowed) and (
            known is None or len(_describe(attempt)) > len(_describe(known))
        ):
            unexpected[attempt.host] = attempt
    return tuple(unexpected.values())


def describe_unexpected(
    attempts: Sequence[NetworkAttempt], allowed: Sequence[str]
) -> tuple[str, ...]:
    """Return a line for each host that no pattern allows: who tried to reach it, from where."""
    return tuple(_describe(attempt) for attempt in find_unexpected(attempts, allowed))


def advise_on_unexpected(
    attempts: Sequence[NetworkAttempt], allowed: Sequence[str], start: str = ""
) -> tuple[Advice, ...]:
    """Return what to do about each of these hosts."""
    return tuple(
        advise_on_attempt(attempt, start) for attempt in find_unexpected(attempts, allowed)
    )


def _describe(attempt: NetworkAttempt) -> str:
    port = f":{attempt.port}" if attempt.port and attempt.kind != "dns" else ""
    process = f" by {attempt.process}" if attempt.process else ""
    modules = f" in {' < '.join(attempt.modules)}" if attempt.modules else ""
    return f"it tries to reach {attempt.host}{port}{process}{modules}"
