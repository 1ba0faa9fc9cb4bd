"""Workloads that download when they start: packages, Python itself, models.

Whatever is downloaded at a start makes the start depend on the network. A proved image (its pods
name it, see deploy.manifests.application.PROOF) is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.startup import (
    find_model_downloads,
    find_package_installs,
    find_python_downloads,
    get_mirror,
    iter_installers,
    uses_mirror,
)
from deploy.evidence.unseen import require_seen
from deploy.evidence.workloads import Workload
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity

CATEGORY = "downloads"
RANK = 90  # where it stands in the report


def _downloading(
    evidence: Evidence, tells: Callable[[Workload], tuple[str, ...]]
) -> Iterator[tuple[Workload, tuple[str, ...]]]:
    for workload in require_seen(evidence.workloads):
        shown = tells(workload)
        if shown and not workload.is_proved:
            other = "its pods name the proof of another image than the one they run"
            yield workload, (*shown[:4], other) if workload.runs_other_image else shown[:4]


def check_packages(evidence: Evidence) -> Iterator[Finding]:
    """Packages, at every start."""
    state = get_mirror(evidence)
    for workload, shown in _downloading(evidence, find_package_installs):
        mirrored = all(uses_mirror(one, state) for one in iter_installers(workload))
        yield Finding(
            check="downloads.packages",
            severity=Severity.NOTE,
            cause=f"{workload.title} installs packages each time it starts"
            + (", from the mirror" if mirrored else ""),
            evidence=shown,
            why="It starts as slowly as its packages come, and not at all while they do not. `uv "
            "run` syncs first even where everything is installed: UV_NO_SYNC=1 in an image that "
            "has it all stops that.",
            remedies=(remedies.build_image(workload.title),),
        )


def check_python(evidence: Evidence) -> Iterator[Finding]:
    """A Python interpreter, from outside of every index."""
    for workload, shown in _downloading(evidence, find_python_downloads):
        yield Finding(
            check="downloads.python",
            severity=Severity.WARNING,
            cause=f"{workload.title} downloads Python itself when it starts",
            evidence=shown,
            why="uv fetches interpreters from the release files of a code host: that is no package "
            "index, so neither a mirror nor an index setting helps.",
            remedies=(
                Remedy(
                    text="Use an image that has the Python of the project's requires-python, and "
                    "tell uv to take it.",
                    scope="workload",
                    command=f"kubectl -n {workload.namespace} set env "
                    f"{workload.kind.lower()}/{workload.name} UV_PYTHON_DOWNLOADS=never",
                    side_effect="where no fitting Python is in the image it fails at once, and says so",
                ),
                remedies.build_image(workload.title),
            ),
        )


def check_models(evidence: Evidence) -> Iterator[Finding]:
    """Models, from their own hubs."""
    for workload, shown in _downloading(evidence, find_model_downloads):
        yield Finding(
            check="downloads.models",
            severity=Severity.WARNING,
            cause=f"{workload.title} downloads models when it starts",
            evidence=shown,
            why="Models come from hubs of their own (gigabytes at times), not from the package "
            "index: the mirror does not hold them.",
            remedies=(
                Remedy(
                    text="Keep them on a volume, or bake them into the image; HF_HUB_OFFLINE=1 "
                    "then keeps the libraries from asking.",
                    scope="workload",
                    command=f"build-image PATH   # {workload.title}: files and offline settings "
                    "stand in its recipe",
                ),
            ),
        )


_NEEDS = frozenset({Need.WORKLOADS, Need.MIRROR})

CHECKS = (
    DoctorCheck(
        id="downloads.packages",
        fact="no workload installs packages at its start",
        needs=_NEEDS,
        find=check_packages,
    ),
    DoctorCheck(
        id="downloads.python",
        fact="no workload downloads Python itself",
        needs=frozenset({Need.WORKLOADS}),
        find=check_python,
    ),
    DoctorCheck(
        id="downloads.models",
        fact="no workload downloads models",
        needs=frozenset({Need.WORKLOADS}),
        find=check_models,
    ),
)
