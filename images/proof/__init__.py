"""Prove that an image starts with no network, before it gets its name.

Each check is a module of this package with ``ORDER`` and ``check(subject) -> ProofResult``. This
module contains what the checks share: running programs of the image in a sandbox, and describing
attempts to reach hosts that the recipe does not expect.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from images.application_recipe import ApplicationRecipe
from images.engine import EngineClient
from images.engine.containers import ContainerResult, ContainerSpec, run_to_end
from images.inside import read_program
from images.project_lock import ProjectLock
from images.sandbox import NetworkAttempt, Sandbox, open_sandbox
from mirror.core.codec import json_key
from mirror.core.progress import Progress

_HOOK = "/pypi-mirror/hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSubject:
    """An image and what it was built from.

    ``packages`` are the import names of the project's own packages.
    """

    engine: EngineClient
    image: str
    recipe: ApplicationRecipe
    lock: ProjectLock
    packages: tuple[str, ...]
    progress: Progress

    def describe_program(
        self, argv: Sequence[str], script: str = "", sandbox: Sandbox | None = None, **env: str
    ) -> ContainerSpec:
        """Return how to run a program of the image as a pod would, in a sandbox or no network.

        With ``script``, a program of images/inside, ``argv`` are its arguments.
        """
        files = {f"{_HOOK}/sitecustomize.py": read_program("sitecustomize.py")}
        if script:
            files[f"/pypi-mirror/{script}"] = read_program(script)
            argv = ("python3", f"/pypi-mirror/{script}", *argv)
        for path, text in self.recipe.proof_files.items():
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """The result of a check. It has passed if ``faults`` is empty. `run_proof` sets ``check``.

    ``attempts`` are all hosts that programs tried to reach, including the expected ones;
    ``seconds`` is how long the check took.
    """

    check: str = ""
    summary: str = field(metadata=json_key("said"))
    faults: tuple[str, ...]
    attempts: tuple[NetworkAttempt, ...] = field(default=(), metadata=json_key("tried"))
    seconds: float = 0


def run_proof(subject: ProofSubject) -> tuple[ProofResult, ...]:
    """Run every check, in order. A fault of the image is a result, never an exception."""
    modules = {
        info.name: importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    }
    results = []
    for name, module in sorted(modules.items(), key=lambda item: item[1].ORDER):
        subject.progress.step(f"proof: {name}")
        start = time.monotonic()
        result: ProofResult = module.check(subject)
        seconds = round(time.monotonic() - start, 2)
        results.append(replace(result, check=name, seconds=seconds))
    return tuple(results)


def describe_unexpected(
    attempts: Sequence[NetworkAttempt], allowed: Sequence[str]
) -> tuple[str, ...]:
    """Return a line for each host that no pattern allows: who tried to reach it, from where."""
    lines: dict[str, str] = {}
    for attempt in attempts:
        if any(fnmatchcase(attempt.host, pattern.lower()) for pattern in allowed):
            continue
        port = f":{attempt.port}" if attempt.port and attempt.kind != "dns" else ""
        process = f" by {attempt.process}" if attempt.process else ""
        modules = f" in {' < '.join(attempt.modules)}" if attempt.modules else ""
        line = f"it tries to reach {attempt.host}{port}{process}{modules}"
        # several kinds of attempts report the same host: the longest line has the most details
        if len(line) > len(lines.get(attempt.host, "")):
            lines[attempt.host] = line
    return tuple(lines.values())
