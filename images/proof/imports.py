"""Every module of the project imports; those that do not are the recipe's list exactly."""

from __future__ import annotations

import json

from images.proof import Outcome, Subject, unexpected

ORDER = 3


def check(subject: Subject) -> Outcome:
    packages = subject.recipe.imports or subject.packages
    if not packages:
        return Outcome(check="imports", said="no packages of its own", faults=())
    with subject.network() as watched:
        with subject.started(watched, packages, "imports.py") as running:
            code = subject.ended(running, "the imports")
            lines = [line for line in running.log(errors=False).splitlines() if line[:1] == "{"]
        tried = watched.tried()
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
    faults += unexpected(tried, subject.recipe.expected_hosts)
    failed = sum(1 for error in found.values() if error)
    said = f"{len(found) - failed} modules import" + (
        f", {failed} fail as listed" if failed else ""
    )
    return Outcome(check="imports", said=said, faults=tuple(faults), tried=tried)
