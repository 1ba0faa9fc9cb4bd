"""What a built image is, measured: its files, layers and distributions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from images.application_dockerfile import UV_PATH, venv_path
from images.application_recipe import ApplicationRecipe
from images.engine import EngineImage
from images.engine.containers import ContainerSpec, run_container
from images.proof import INSIDE, ProofResult, ProofSubject
from images.proof.distributions import read_environment
from images.report import BuildReport, Distribution, Layer
from images.sandbox import NetworkAttempt
from images.source import ProjectSource
from images.vendor import VendoredDistribution
from mirror.core.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """What programs in the image told: of its files, and of its environment."""

    files: Mapping[str, Any]
    environment: Mapping[str, Any]


def inspect_image(subject: ProofSubject) -> ImageContents:
    """Reads every file; may go on beside the proof."""
    return ImageContents(files=_files(subject), environment=read_environment(subject))


def make_report(
    subject: ProofSubject,
    counted: ImageContents,
    reference: str,
    outcomes: tuple[ProofResult, ...],
    vendored: tuple[VendoredDistribution, ...],
    source: ProjectSource,
    base: EngineImage,
    seconds: Mapping[str, float],
    *,
    relayed: int,
    attempts: tuple[NetworkAttempt, ...],
) -> BuildReport:
    held = subject.engine.find(subject.image)
    if held is None:
        raise EngineError("the image that was built is gone again")
    files, told = counted.files, counted.environment
    hashes = {pin.name: pin.hashes for pin in subject.lock.pins}
    found = told["distributions"]
    backends = {canonicalize_name(one["name"]): one["backend"] for one in found}
    return BuildReport(
        reference=reference,
        id=held.id,
        architecture=held.architecture,
        base=subject.recipe.base,
        size=held.size,
        layers=tuple(_layers(subject.recipe, base, files["below"])),
        distributions=tuple(
            Distribution(
                name=one["name"],
                version=one["version"],
                licence=one["licence"],
                hashes=hashes.get(canonicalize_name(one["name"]), ()),
            )
            for one in sorted(found, key=lambda one: str(one["name"]).lower())
        ),
        vendored=vendored,
        built_from_sdist=tuple(
            f"{line} ({backends.get(canonicalize_name(line.split()[0]), 'unknown')})"
            for line in told["built"]
        ),
        built_with=tuple(told["builders"]),
        lock=subject.lock.file,
        lock_sha256=subject.lock.sha256,
        revision=source.revision,
        files_sha256=files["digest"],
        files=files["files"],
        relayed=relayed,
        elsewhere=len(attempts),
        left_out=source.left_out,
        proof=outcomes,
        seconds=seconds,
    )


def _files(subject: ProofSubject) -> dict[str, Any]:
    program = "/pypi-mirror/files.py"
    plan = ContainerSpec(
        image=subject.image,
        argv=("python3", program, UV_PATH, venv_path(subject.recipe), subject.recipe.folder),
        user="0",
        capabilities=("DAC_OVERRIDE",),
        files={program: (INSIDE / "files.py").read_bytes()},
    )
    with run_container(subject.engine, plan) as running:
        code = subject.wait_for_exit(running, "the count of files")
        log = running.read_log(stderr=False)
    if code != 0:
        raise EngineError("the files of the image could not be counted", why=log[-500:])
    return dict(json.loads(log))


def _layers(
    recipe: ApplicationRecipe, base: EngineImage, below: Mapping[str, int]
) -> Iterator[Layer]:
    """The base's own layers are one. The others by their files' bytes: what the engine tells of
    each layer is wrong where the base has layers without history."""
    yield Layer(name="system", bytes=base.size)
    yield Layer(name="uv", bytes=below[UV_PATH])
    yield Layer(name="dependencies", bytes=below[venv_path(recipe)])
    yield Layer(name="source", bytes=below[recipe.folder])
