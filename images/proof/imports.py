"""Every module that the application needs imports, from where the application starts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from images.advice import Advice, advise_on_failure
from images.engine.containers import run_container
from images.failure import Cause, Failure, RaisedError, find_failure, is_allowed, parse_chain
from images.import_names import guess_distribution
from images.proof import (
    Outcome,
    ProofResult,
    ProofSubject,
    SubjectOutcome,
    advise_on_unexpected,
    describe_unexpected,
)
from images.sandbox import NetworkAttempt, open_sandbox
from mirror.core.errors import WaitTimeout
from mirror.core.wait import wait_until

ORDER = 3
_SECONDS_PER_MODULE = 45.0
_SECONDS = 300.0  # after this, no further module is tried
_NAMED = 3  # modules that the line of a group names
_ENDED = RaisedError(type="", text="the interpreter ended while it was imported")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModule:
    """What imports.py has reported about a module. ``chain`` is empty if it was imported."""

    name: str
    chain: tuple[RaisedError, ...]
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What imports.py has found besides. ``starts`` are modules of the project that starts name."""

    tests: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleOutcome:
    """The outcome of a module; ``failure`` is set if it failed."""

    subject: SubjectOutcome
    failure: Failure | None = None


def check(subject: ProofSubject) -> ProofResult:
    recipe = subject.recipe
    output, exit_code, attempts = _run(subject)
    modules, plan = parse_events(output)
    allowed = (*recipe.expected_hosts, *(host for s in recipe.starts for host in s.services))
    expected = recipe.import_failures
    outcomes = [
        judge_module(module, plan, allowed=allowed, optional=subject.source.optional)
        for module in modules
    ]
    failed = [
        outcome
        for outcome in outcomes
        if outcome.failure is not None and outcome.subject.name not in expected
    ]
    groups = list(_group(failed))
    faults = [describe_group(group) for group in groups]
    good = {o.subject.name for o in outcomes if o.subject.outcome is Outcome.IMPORTED}
    known = {o.subject.name for o in outcomes}
    faults += [
        f"{name} imports, or no longer exists, but the recipe lists it as a failure ({reason})"
        for name, reason in expected.items()
        if name in good or name not in known
    ]
    if exit_code != 0:
        faults.append(f"the interpreter ended with {exit_code}")
    faults += describe_unexpected(attempts, allowed)
    return ProofResult(
        summary=_summarize(outcomes, plan, expected),
        faults=tuple(faults),
        warnings=tuple(_warn(subject, outcomes, plan)),
        outcomes=tuple(outcome.subject for outcome in outcomes),
        attempts=attempts,
        advice=(
            *(_advise(subject, group) for group in groups),
            *advise_on_unexpected(attempts, allowed),
        ),
    )


def _run(subject: ProofSubject) -> tuple[str, int, tuple[NetworkAttempt, ...]]:
    """Run imports.py; return its output, its exit code and the attempts to reach hosts."""
    recipe = subject.recipe
    options = {
        "packages": recipe.imports,
        "starts": [start.argv for start in recipe.starts],
        "folders": [recipe.folder, *(f"{recipe.folder}/{name}" for name in subject.source.folders)],
        "seconds": _SECONDS_PER_MODULE,
        "limit": _SECONDS,
    }
    # the environment of the first start, which is the image's command
    environment = recipe.starts[0].environment if recipe.starts else {}
    with open_sandbox(subject.engine, subject.image) as sandbox:
        spec = subject.describe_program(
            (json.dumps(options),), "imports.py", sandbox, **environment
        )
        with run_container(subject.engine, spec) as container:
            try:
                limit = subject.engine.deadline.within(_SECONDS + 2 * _SECONDS_PER_MODULE)
                exit_code = wait_until(
                    container.exit_code,
                    deadline=limit,
                    what="the imports",
                    interval=0.05,
                    max_interval=0.2,
                )
            except WaitTimeout:
                exit_code = 0  # the module that does not end is reported as such
            output = container.read_log(stderr=False)
        return output, exit_code, sandbox.attempts()


def parse_events(output: str) -> tuple[list[ImportedModule], ImportPlan]:
    """Return the modules in the order of their imports, and the plan, from imports.py's output."""
    modules: dict[str, ImportedModule] = {}
    plan = ImportPlan()
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        event: dict[str, Any] = json.loads(line)
        if event["state"] == "plan":
            names = ("tests", "reached", "left", "starts")
            plan = ImportPlan(**{name: tuple(event[name]) for name in names})
            continue
        name = event["module"]
        chain = parse_chain(event["chain"]) if event["state"] == "ends" else (_ENDED,)
        hosts = tuple(event.get("hosts", ()))
        modules[name] = ImportedModule(name=name, chain=chain, hosts=hosts)
    return list(modules.values()), plan


def judge_module(
    module: ImportedModule,
    plan: ImportPlan,
    *,
    allowed: Sequence[str],
    optional: Mapping[str, str],
) -> ModuleOutcome:
    """Return what became of a module.

    ``allowed`` are patterns of hosts that the recipe expects; ``optional`` maps distributions that
    the image leaves out to the option that adds them.
    """
    asked = tuple(host for host in module.hosts if is_allowed(host, allowed))
    if not module.chain:
        return _outcome(module, Outcome.IMPORTED, asked=asked)
    first = module.chain[0]
    failure = find_failure(module.chain, allowed) or Failure(cause=Cause.UNKNOWN, error=first)
    line = first.line
    is_foreign = len(asked) < len(module.hosts)  # it also asked for a host that is not expected
    if first.type == "ImportStillRunning":
        if asked and not is_foreign:
            return _outcome(module, Outcome.WAITING, f"waits for {', '.join(asked)}", asked)
        return _outcome(module, Outcome.FAILED, f"it is {first.text}", asked, failure)
    if failure.cause is Cause.SERVICE and asked and not is_foreign:
        return _outcome(module, Outcome.STOPPED, line, asked)
    if failure.cause is Cause.MODULE:
        option = optional.get(guess_distribution(failure.error.name))
        if option and module.name not in plan.starts:
            detail = f"it needs {failure.error.name}, which {option} would install"
            return _outcome(module, Outcome.LEFT_OUT, detail, asked)
    if failure.cause is Cause.SYNTAX and plan.reached and module.name not in plan.reached:
        return _outcome(
            module, Outcome.LEFT_OUT, f"no start imports it, and it is no {line}", asked
        )
    if first.type == "SystemExit" and first.text in ("", "None", "0", "2"):
        detail = "it is a script: it ends when it is imported"
        return _outcome(module, Outcome.LEFT_OUT, detail, asked)
    return _outcome(module, Outcome.FAILED, line, asked, failure)


def _outcome(
    module: ImportedModule,
    outcome: Outcome,
    detail: str = "",
    asked: tuple[str, ...] = (),
    failure: Failure | None = None,
) -> ModuleOutcome:
    subject = SubjectOutcome(name=module.name, outcome=outcome, detail=detail, asked_for=asked)
    return ModuleOutcome(subject=subject, failure=failure)


def _group(failed: Iterable[ModuleOutcome]) -> Iterator[list[ModuleOutcome]]:
    """Yield the modules of each cause together, in the order of their imports."""
    groups: dict[tuple[str, str], list[ModuleOutcome]] = {}
    for outcome in failed:
        if outcome.failure:
            error = outcome.failure.error
            groups.setdefault((error.type, error.text), []).append(outcome)
    yield from groups.values()


def describe_group(group: Sequence[ModuleOutcome]) -> str:
    """Return the line of modules that fail for one cause."""
    names = [outcome.subject.name for outcome in group]
    line = group[0].subject.detail
    failure = group[0].failure
    if failure and failure.error.text and failure.error.text[:100] not in line:
        line += f" (because of {failure.error.line})"
    if names[0].endswith("()"):  # django.setup(), on which the modules depend
        others = f", and so do {len(names) - 1} modules" if len(names) > 1 else ""
        return f"{names[0]} fails{others}: {line}"
    if len(names) == 1:
        return f"{names[0]} does not import: {line}"
    listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{len(names)} modules do not import ({listed}): {line}"


def _advise(subject: ProofSubject, group: Sequence[ModuleOutcome]) -> Advice:
    failure = group[0].failure
    if failure is None:
        raise ValueError("only modules that failed are grouped")
    return advise_on_failure(
        failure,
        subject=group[0].subject.name,
        folder=subject.recipe.folder,
        templates=subject.source.templates,
    )


def _summarize(
    outcomes: Sequence[ModuleOutcome], plan: ImportPlan, expected: Mapping[str, str]
) -> str:
    if not outcomes:
        return "no module to import" + (
            f" besides {', '.join(plan.starts)}, which the start runs" if plan.starts else ""
        )
    counts = {
        outcome: sum(1 for known in outcomes if known.subject.outcome is outcome)
        for outcome in Outcome
    }
    parts = [f"{counts[Outcome.IMPORTED]} modules import"]
    if stopped := counts[Outcome.STOPPED]:
        parts.append(f"{stopped} stopped at a service")
    if waiting := counts[Outcome.WAITING]:
        parts.append(f"{waiting} waiting for a service")
    if left := counts[Outcome.LEFT_OUT]:
        parts.append(f"{left} left out")
    if plan.tests:
        parts.append(f"{len(plan.tests)} of tests not tried")
    listed = [o for o in outcomes if o.failure and o.subject.name in expected]
    if listed:
        parts.append(f"{len(listed)} fail as listed")
    return ", ".join(parts)


def _warn(
    subject: ProofSubject, outcomes: Sequence[ModuleOutcome], plan: ImportPlan
) -> Iterator[str]:
    if not outcomes and not plan.starts:
        yield (
            f"no module of the project was found in {subject.recipe.folder}: name its packages "
            "with the recipe's imports"
        )
    if plan.left:
        yield f"{len(plan.left)} modules were not tried: the imports took {_SECONDS:.0f} s"
