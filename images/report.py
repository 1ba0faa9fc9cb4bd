"""What an image is made of, for people and for machines: report, labels, SBOM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from images.proof import ProofResult
from images.vendor import VendoredDistribution

LOCK_LABEL = "io.github.pypi-mirror.lock"  # SHA-256 of the lock
PROOF_LABEL = "io.github.pypi-mirror.proof"  # "passed" or "none"
RECIPE_LABEL = "io.github.pypi-mirror.recipe"
FILES_LABEL = "io.github.pypi-mirror.files"  # hash of path, mode, owner and content of all files


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One part of an image: system, dependencies, source or uv; bytes as the engine counts them."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """All there is to say of a built image; `--report` writes it as JSON. Seconds by step."""

    reference: str
    id: str
    architecture: str
    base: str
    size: int
    layers: tuple[Layer, ...]
    distributions: tuple[Distribution, ...]
    vendored: tuple[VendoredDistribution, ...]
    built_from_sdist: tuple[str, ...]
    built_with: tuple[str, ...]  # what ran in the build, each pinned in build-backends.txt
    lock: str
    lock_sha256: str
    revision: str | None
    files_sha256: str
    files: int
    relayed: int  # connections of the build to the mirror
    elsewhere: int  # connections and look-ups of the build to anything else
    left_out: tuple[str, ...]
    proof: tuple[ProofResult, ...]
    seconds: Mapping[str, float]


def report_labels(report: BuildReport, recipe: str, title: str) -> dict[str, str]:
    """The labels of the finished image. Stable: docs/build-image.md names them."""
    told = {
        "org.opencontainers.image.title": title,
        LOCK_LABEL: report.lock_sha256,
        PROOF_LABEL: "passed" if report.proof else "none",
        RECIPE_LABEL: recipe,
        FILES_LABEL: report.files_sha256,
        "org.opencontainers.image.base.name": report.base,
    }
    if report.revision:
        told["org.opencontainers.image.revision"] = report.revision
    return told


def render_sbom(report: BuildReport) -> str:
    """CycloneDX 1.6 as JSON: every distribution with its locked hashes and its licence."""
    bom = Bom()
    bom.metadata.component = Component(
        name=report.reference.partition(":")[0],
        version=report.id,
        type=ComponentType.CONTAINER,
        bom_ref="image",
    )
    vendored = {one.name: one for one in report.vendored}
    for one in report.distributions:
        name = canonicalize_name(one.name)
        component = Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, name, one.version),
            bom_ref=f"{name}=={one.version}",
            licenses=[LicenseExpression(one.licence)] if one.licence else [],
            description=f"vendored from {vendored[name].origin}" if name in vendored else None,
        )
        bom.components.add(component)
        bom.register_dependency(bom.metadata.component, [component])
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"
