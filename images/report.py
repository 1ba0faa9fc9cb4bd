"""The content of a built image, as a report, as labels and as an SBOM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from images.proof import ProofResult, judge_proof
from images.vendor import VendoredDistribution

LOCK_LABEL = "io.github.pypi-mirror.lock"  # SHA-256 of the lock
PROOF_LABEL = "io.github.pypi-mirror.proof"  # "passed", "incomplete" or "none"
OUTCOMES_LABEL = "io.github.pypi-mirror.proof.outcomes"  # what became of starts and modules
MOUNTS_LABEL = "io.github.pypi-mirror.mounts"  # files that have to be mounted
RECIPE_LABEL = "io.github.pypi-mirror.recipe"  # name of the recipe
FILES_LABEL = "io.github.pypi-mirror.files"  # hash of path, mode, owner and content of all files


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A part of an image ("system", "uv", "dependencies" or "source") and its size in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed distribution; ``hashes`` are the locked ones, ``licence`` an SPDX expression."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """Everything known about a built image; `--report` writes it as JSON.

    ``relayed`` counts the build's connections to the mirror, ``elsewhere`` its connections and
    look-ups of anything else. ``built_with`` are the distributions that ran in the build.
    ``not_taken`` are lines of the project's files that the image does not follow, ``unknown`` what
    no file says. ``proof_verdict`` is "passed", "incomplete" or "none". ``mounts`` are files that
    the proof had a copy of and the image has not: path → where the copy came from. ``seconds`` is
    by part of the build. The fields with a default cannot be read from the image.
    """

    reference: str = ""
    id: str
    architecture: str
    base: str
    size: int
    layers: tuple[Layer, ...]
    distributions: tuple[Distribution, ...]
    vendored: tuple[VendoredDistribution, ...] = ()
    built_from_sdist: tuple[str, ...]
    built_with: tuple[str, ...]
    lock: str
    lock_sha256: str
    revision: str | None = None
    files_sha256: str
    files: int
    relayed: int = 0
    elsewhere: int = 0
    left_out: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    proof: tuple[ProofResult, ...] = ()
    proof_verdict: str = "none"
    mounts: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def report_labels(report: BuildReport, recipe: str, title: str) -> dict[str, str]:
    """Return the labels of the image. They are stable: docs/build-image.md lists them."""
    labels = {
        "org.opencontainers.image.title": title,
        LOCK_LABEL: report.lock_sha256,
        PROOF_LABEL: judge_proof(report.proof),
        RECIPE_LABEL: recipe,
        FILES_LABEL: report.files_sha256,
        "org.opencontainers.image.base.name": report.base,
    }
    if report.proof:
        labels[OUTCOMES_LABEL] = describe_outcomes(report.proof)
    if report.mounts:
        labels[MOUNTS_LABEL] = " ".join(report.mounts)
    if report.revision:
        labels["org.opencontainers.image.revision"] = report.revision
    return labels


def describe_outcomes(proof: Sequence[ProofResult]) -> str:
    """Return the outcome of each start command, and how many modules have which, on one line."""
    parts = []
    for result in proof:
        if result.check == "starts":
            parts += [f"{outcome.name}: {outcome.outcome}" for outcome in result.outcomes]
        elif result.outcomes:
            counts = Counter(str(outcome.outcome) for outcome in result.outcomes)
            modules = ", ".join(f"{count} {name}" for name, count in counts.items())
            parts.append(f"modules: {modules}")
    return "; ".join(parts) or "nothing was started or imported"


def render_sbom(report: BuildReport) -> str:
    """Return a CycloneDX 1.6 document (JSON) with every installed distribution."""
    bom = Bom()
    bom.metadata.component = Component(
        name=report.reference.partition(":")[0],
        version=report.id,
        type=ComponentType.CONTAINER,
        bom_ref="image",
    )
    origins = {vendored.name: vendored.origin for vendored in report.vendored}
    for distribution in report.distributions:
        name, licence = canonicalize_name(distribution.name), distribution.licence
        component = Component(
            name=distribution.name,
            version=distribution.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, name, distribution.version),
            bom_ref=f"{name}=={distribution.version}",
            licenses=[LicenseExpression(licence)] if licence else [],
            description=f"vendored from {origins[name]}" if name in origins else None,
        )
        bom.components.add(component)
        bom.register_dependency(bom.metadata.component, [component])
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"
