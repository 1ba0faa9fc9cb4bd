"""Every module of the project imports; those that do not are the recipe's list exactly."""

from __future__ import annotations

import json

from images.proof import ProofResult, ProofSubject, describe_unexpected

ORDER = 3


def check(subject: ProofSubject) -> ProofResult:
    packages = subject.recipe.imports or subject.packages
    if not packages:
        return ProofResult(check="imports", said="no packages of its own", faults=())
    with subject.open_network() as watched:
        with subject.run_program(watched, packages, "imports.py") as running:
            code = subject.wait_for_exit(running, "the imports")
            lines = [
                line for line in running.read_log(stderr=False).splitlines() if line[:1] == "{"
            ]
        tried = watched.attempts()
    found: dict[str, str] = {}
    for line in lines:
        told = json.loads(line)
        found[told["module"]] = told.get("error", "the interpreter ended while it was imported")
    listed = subject.recipe.import_failures
    faults = [
        f"{module} does not import: {error}"
        for module, error in found.items()
        if error and module not in listed
    ]
    faults += [
        f"{module} imports, or is gone: the recipe lists it as a failure ({reason})"
        for module, reason in listed.items()
        if not found.get(module)
    ]
    if code != 0:
        faults.append(f"the interpreter ended with {code}")
    faults += describe_unexpected(tried, subject.recipe.expected_hosts)
    failed = sum(1 for error in found.values() if error)
    said = f"{len(found) - failed} modules import" + (
        f", {failed} fail as listed" if failed else ""
    )
    return ProofResult(check="imports", said=said, faults=tuple(faults), tried=tried)
