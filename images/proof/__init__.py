"""Whether an image starts with no network at all: one check a file, run before it gets its name.

A check is a module with ``ORDER`` and ``check(subject) -> Outcome``. What every check has in
common is here: the watched network, the hook for Python programs, and which hosts are allowed.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, cast

from images.application_recipe import ApplicationRecipe
from images.engine import EngineClient
from images.engine.containers import ContainerSpec, EngineContainer, run_container
from images.project_lock import ProjectLock
from images.sandbox import NetworkAttempt, Sandbox, open_sandbox
from mirror.core.progress import Progress
from mirror.core.wait import Deadline, wait_until

INSIDE = Path(__file__).parents[1] / "inside"
_HOOK = "/pypi-mirror/hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSubject:
    """The image on trial and what it was made of. ``packages``: the project's own, importable."""

    engine: EngineClient
    image: str
    recipe: ApplicationRecipe
    lock: ProjectLock
    packages: tuple[str, ...]
    progress: Progress
    deadline: Deadline

    @contextmanager
    def open_network(self) -> Iterator[Sandbox]:
        """A network that leads nowhere, watched."""
        with open_sandbox(self.engine, self.image, self.deadline, None) as watched:
            yield watched

    @contextmanager
    def run_program(
        self, watched: Sandbox | None, argv: Sequence[str], program: str = "", **env: str
    ) -> Iterator[EngineContainer]:
        """A program of the image as pods start it, in that network (None: in none, unwatched).

        ``program``: one of INSIDE.
        """
        files = {f"{_HOOK}/sitecustomize.py": (INSIDE / "sitecustomize.py").read_bytes()}
        if program:
            files[f"/pypi-mirror/{program}"] = (INSIDE / program).read_bytes()
            argv = ("python3", f"/pypi-mirror/{program}", *argv)
        for name, text in self.recipe.proof_files.items():
            files[f"{self.recipe.folder}/{name}"] = text.encode()
        own = self.recipe.environment.get("PYTHONPATH", "")
        path = _HOOK + (f":{own}" if own else "")
        environment = {**self.recipe.proof_environment, **env, "PYTHONPATH": path}
        plan = ContainerSpec(
            image=self.image,
            argv=tuple(argv),
            network_mode=watched.network if watched else "none",
            pid_mode=watched.network if watched else None,
            environment=environment,
            files=files,
        )
        with run_container(self.engine, plan) as running:
            yield running

    def wait_for_exit(self, running: EngineContainer, what: str, seconds: float = 300) -> int:
        """Its exit code, once it has one."""
        codes: list[int] = []

        def look() -> bool:
            code = running.exit_code()
            if code is not None:
                codes.append(code)
            return bool(codes)

        wait_until(
            look,
            deadline=self.deadline.within(seconds),
            what=what,
            interval=0.05,
            max_interval=0.15,
        )
        return codes[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """What a check found. ``faults`` is empty where all is well; ``tried`` all that was called.

    ``seconds``: it took.
    """

    check: str
    said: str
    faults: tuple[str, ...]
    tried: tuple[NetworkAttempt, ...] = ()
    seconds: float = 0


class ProofCheck(Protocol):
    """A module of this package."""

    __name__: str
    ORDER: int

    def check(self, subject: ProofSubject) -> ProofResult: ...


def run_proof(subject: ProofSubject) -> tuple[ProofResult, ...]:
    """Every check's outcome. None of them raises for a fault of the image."""
    names = [one.name for one in pkgutil.iter_modules(__path__)]
    parts = [cast("ProofCheck", importlib.import_module(f"{__name__}.{name}")) for name in names]
    return tuple(_timed(part, subject) for part in sorted(parts, key=lambda part: part.ORDER))


def _timed(part: ProofCheck, subject: ProofSubject) -> ProofResult:
    subject.progress.step(f"proof: {part.__name__.rpartition('.')[2]}")
    since = time.monotonic()
    outcome = part.check(subject)
    return replace(outcome, seconds=round(time.monotonic() - since, 2))


def describe_unexpected(tried: Sequence[NetworkAttempt], allowed: Sequence[str]) -> tuple[str, ...]:
    """A line for each host outside of the allowed patterns: who called it, and from where."""
    lines: dict[str, str] = {}
    for one in tried:
        if any(fnmatchcase(one.host, pattern.lower()) for pattern in allowed):
            continue
        port = f":{one.port}" if one.port else ""
        by = f" by {one.process}" if one.process else ""
        at = f" in {' < '.join(one.modules)}" if one.modules else ""
        # the audit hook knows most, the wire least: the longest account of a host is kept
        line = f"it tries to reach {one.host}{port if one.kind != 'dns' else ''}{by}{at}"
        if len(line) > len(lines.get(one.host, "")):
            lines[one.host] = line
    return tuple(lines.values())
