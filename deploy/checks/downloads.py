"""Workloads that download when they start: packages, Python itself, models.

Their start depends on the network. Workloads with a proven image (see
deploy.manifests.application.PROOF_ANNOTATION) are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence import startup
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.evidence.workloads import Workload
from deploy.findings import remedies
from deploy.findings.model import READ, Finding, Remedy, check, note, warning

CATEGORY = "downloads"
RANK = 90  # its position in the report


@check(
    "downloads.packages",
    "no workload installs packages when it starts",
    READ,
    Need.MIRROR,
    Need.WORKLOADS,
)
def check_packages(evidence: Evidence) -> Iterator[Finding]:
    mirror = startup.get_mirror(evidence)
    for workload, shown in _iter_downloading(evidence, "packages"):
        from_mirror = all(
            startup.uses_mirror(container, mirror)
            for container in startup.list_installers(workload)
        )
        yield note(
            f"{workload.title} installs packages each time it starts"
            + (", from the mirror" if from_mirror else ""),
            remedies.build_image(workload.title),
            evidence=shown,
            why="It starts only as fast as its packages download, and not at all if they do not. "
            "`uv run` syncs first even if everything is installed; UV_NO_SYNC=1 prevents that in "
            "an image that contains everything.",
        )


@check("downloads.python", "no workload downloads Python itself", READ, Need.WORKLOADS)
def check_python(evidence: Evidence) -> Iterator[Finding]:
    for workload, shown in _iter_downloading(evidence, "python"):
        yield warning(
            f"{workload.title} downloads Python itself when it starts",
            Remedy(
                "Use an image with a Python that fits the project's requires-python, and "
                "tell uv to use it.",
                "workload",
                f"kubectl -n {workload.namespace} set env {workload.target} "
                "UV_PYTHON_DOWNLOADS=never",
                side_effect="if the image has no suitable Python, it fails at once with a "
                "clear message",
            ),
            remedies.build_image(workload.title),
            evidence=shown,
            why="uv downloads interpreters from GitHub releases by default. That is not a "
            "package index, so neither a mirror nor an index setting helps.",
        )


@check("downloads.models", "no workload downloads models", READ, Need.WORKLOADS)
def check_models(evidence: Evidence) -> Iterator[Finding]:
    for workload, shown in _iter_downloading(evidence, "models"):
        yield warning(
            f"{workload.title} downloads models when it starts",
            Remedy(
                "Keep them on a volume, or include them in the image; HF_HUB_OFFLINE=1 "
                "then keeps the libraries from asking the hub.",
                "workload",
                f"build-image PATH   # {workload.title}: add files and offline "
                "settings to its recipe",
            ),
            evidence=shown,
            why="Models (some of several gigabytes) come from their own hubs, not from the package "
            "index: the mirror does not serve them.",
        )


def _iter_downloading(
    evidence: Evidence, kind: startup.DownloadKind
) -> Iterator[tuple[Workload, tuple[str, ...]]]:
    for workload in require_seen(evidence.workloads):
        shown = startup.find_downloads(workload, kind)[:4]
        if shown and not workload.is_proved:
            if workload.runs_other_image:
                shown = (*shown, "its pods are annotated with the proof of another image")
            yield workload, shown


CHECKS = (check_packages, check_python, check_models)
