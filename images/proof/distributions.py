"""Each locked distribution is there at its version."""

from __future__ import annotations

import json
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from images.proof import ProofResult, ProofSubject

ORDER = 1


def check(subject: ProofSubject) -> ProofResult:
    told = read_environment(subject)
    markers = told["markers"]
    have = {canonicalize_name(one["name"]): one["version"] for one in told["distributions"]}
    faults, count = [], 0
    for pin in subject.lock.pins:
        if pin.marker and not Marker(pin.marker).evaluate(markers):
            continue
        count += 1
        version = have.get(canonicalize_name(pin.name))
        if version is None:
            faults.append(f"{pin.name} {pin.version} is locked and not installed")
        elif version != pin.version:
            faults.append(f"{pin.name} is installed as {version}, locked as {pin.version}")
    said = f"{count} locked distributions at their versions"
    return ProofResult(check="distributions", said=said, faults=tuple(faults))


def read_environment(subject: ProofSubject) -> dict[str, Any]:
    """Markers' values and distributions of the image's environment."""
    with subject.run_program(None, (), "environment.py") as running:
        code = subject.wait_for_exit(running, "the list of distributions")
        log = running.read_log(stderr=False)
        if code != 0:
            return {"markers": {}, "distributions": [], "built": [], "builders": []}
    return dict(json.loads(log))
