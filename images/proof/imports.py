"""Every module of the project imports, except exactly those that the recipe lists."""

from __future__ import annotations

import json

from images.proof import ProofResult, ProofSubject, describe_unexpected

ORDER = 3


def check(subject: ProofSubject) -> ProofResult:
    packages = subject.recipe.imports or subject.packages
    if not packages:
        return ProofResult(summary="the project has no packages of its own", faults=())
    run, attempts = subject.run_in_sandbox(packages, "the imports", "imports.py")
    errors: dict[str, str] = {}  # module → error, empty if it imports
    for line in run.stdout.splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            unfinished = "the interpreter ended while it was imported"
            errors[event["module"]] = event.get("error", unfinished)
    expected = subject.recipe.import_failures
    faults = [
        f"{module} does not import: {error}"
        for module, error in errors.items()
        if error and module not in expected
    ]
    faults += [
        f"{module} imports, or no longer exists, but the recipe lists it as a failure ({reason})"
        for module, reason in expected.items()
        if not errors.get(module)
    ]
    if run.exit_code != 0:
        faults.append(f"the interpreter ended with {run.exit_code}")
    faults += describe_unexpected(attempts, subject.recipe.expected_hosts)
    failed = sum(1 for error in errors.values() if error)
    summary = f"{len(errors) - failed} modules import"
    if failed:
        summary += f", {failed} fail as listed"
    return ProofResult(summary=summary, faults=tuple(faults), attempts=attempts)
