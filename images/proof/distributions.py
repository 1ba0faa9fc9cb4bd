"""Every locked distribution that applies to the image is installed at its locked version."""

from __future__ import annotations

import json
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from images.engine.containers import run_to_end
from images.proof import ProofResult, ProofSubject

ORDER = 1


def check(subject: ProofSubject) -> ProofResult:
    environment = read_environment(subject)
    installed = {
        canonicalize_name(distribution["name"]): distribution["version"]
        for distribution in environment["distributions"]
    }
    faults, count = [], 0
    for pin in subject.lock.pins:
        if pin.marker and not Marker(pin.marker).evaluate(environment["markers"]):
            continue
        count += 1
        version = installed.get(canonicalize_name(pin.name))
        if version is None:
            faults.append(f"{pin.name} {pin.version} is locked and not installed")
        elif version != pin.version:
            faults.append(f"{pin.name} is installed as {version}, locked as {pin.version}")
    warnings: tuple[str, ...] = ()
    if not count and subject.source.dependencies:
        faults.append(
            f"the project has {subject.source.dependencies} dependencies, and {subject.lock.file} "
            "has no distribution for this image: lock the project again"
        )
    elif not count:
        warnings = (f"{subject.lock.file} has no distribution for this image",)
    summary = f"{count} locked distributions at their versions"
    return ProofResult(summary=summary, faults=tuple(faults), warnings=warnings)


def read_environment(subject: ProofSubject) -> dict[str, Any]:
    """Return what images/inside/environment.py prints in the image; empty lists if it fails."""
    spec = subject.describe_program((), "environment.py")
    run = run_to_end(subject.engine, spec, "the list of distributions")
    if run.exit_code != 0:
        return {"markers": {}, "distributions": [], "built": [], "builders": []}
    return dict(json.loads(run.stdout))
