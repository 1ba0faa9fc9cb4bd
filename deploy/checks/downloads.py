"""Workloads that download when they start: packages, Python itself, models.

Their start depends on the network. Workloads with a proved image (see
deploy.manifests.application.PROOF_ANNOTATION) are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.startup import (
    find_model_downloads,
    find_package_installs,
    find_python_downloads,
    format_target,
    get_mirror,
    iter_installers,
    uses_mirror,
)
from deploy.evidence.unseen import require_seen
from deploy.evidence.workloads import Workload
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity

CATEGORY = "downloads"
RANK = 90  # its position in the report


def check_packages(evidence: Evidence) -> Iterator[Finding]:
    """Find workloads that install packages at every start."""
    mirror = get_mirror(evidence)
    for workload, shown in _iter_downloading(evidence, find_package_installs):
        from_mirror = all(uses_mirror(container, mirror) for container in iter_installers(workload))
        yield Finding(
            severity=Severity.NOTE,
            cause=f"{workload.title} installs packages each time it starts"
            + (", from the mirror" if from_mirror else ""),
            evidence=shown,
            why="It starts only as fast as its packages download, and not at all if they do not. "
            "`uv run` syncs first even if everything is installed; UV_NO_SYNC=1 prevents that in "
            "an image that contains everything.",
            remedies=(remedies.build_image(workload.title),),
        )


def check_python(evidence: Evidence) -> Iterator[Finding]:
    """Find workloads that download a Python interpreter, which no index serves."""
    for workload, shown in _iter_downloading(evidence, find_python_downloads):
        yield Finding(
            severity=Severity.WARNING,
            cause=f"{workload.title} downloads Python itself when it starts",
            evidence=shown,
            why="uv downloads interpreters from the release files of a code host. That is not a "
            "package index, so neither a mirror nor an index setting helps.",
            remedies=(
                Remedy(
                    text="Use an image with a Python that fits the project's requires-python, and "
                    "tell uv to use it.",
                    scope="workload",
                    command=f"kubectl -n {workload.namespace} set env {format_target(workload)} "
                    "UV_PYTHON_DOWNLOADS=never",
                    side_effect="if the image has no suitable Python, it fails at once with a "
                    "clear message",
                ),
                remedies.build_image(workload.title),
            ),
        )


def check_models(evidence: Evidence) -> Iterator[Finding]:
    """Find workloads that download models from their hubs."""
    for workload, shown in _iter_downloading(evidence, find_model_downloads):
        yield Finding(
            severity=Severity.WARNING,
            cause=f"{workload.title} downloads models when it starts",
            evidence=shown,
            why="Models (some of several gigabytes) come from their own hubs, not from the package "
            "index: the mirror does not serve them.",
            remedies=(
                Remedy(
                    text="Keep them on a volume, or include them in the image; HF_HUB_OFFLINE=1 "
                    "then keeps the libraries from asking the hub.",
                    scope="workload",
                    command=f"build-image PATH   # {workload.title}: add files and offline "
                    "settings to its recipe",
                ),
            ),
        )


def _iter_downloading(
    evidence: Evidence, find_evidence: Callable[[Workload], tuple[str, ...]]
) -> Iterator[tuple[Workload, tuple[str, ...]]]:
    for workload in require_seen(evidence.workloads):
        shown = find_evidence(workload)[:4]
        if shown and not workload.is_proved:
            if workload.runs_other_image:
                shown = (*shown, "its pods are annotated with the proof of another image")
            yield workload, shown


_WORKLOADS = frozenset({Need.WORKLOADS})

CHECKS = (
    DoctorCheck(
        id="downloads.packages",
        fact="no workload installs packages when it starts",
        needs=_WORKLOADS | {Need.MIRROR},
        find=check_packages,
    ),
    DoctorCheck(
        id="downloads.python",
        fact="no workload downloads Python itself",
        needs=_WORKLOADS,
        find=check_python,
    ),
    DoctorCheck(
        id="downloads.models",
        fact="no workload downloads models",
        needs=_WORKLOADS,
        find=check_models,
    ),
)
