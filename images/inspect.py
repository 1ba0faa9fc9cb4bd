"""Inspect a built image: its files, layers and distributions."""

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
from images.inside import read_program
from images.proof import ProofResult, ProofSubject
from images.proof.distributions import read_environment
from images.report import BuildReport, Distribution, Layer
from images.source import ProjectSource
from images.vendor import VendoredDistribution
from mirror.core.errors import EngineError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInspection:
    """The output of images/inside/files.py and images/inside/environment.py in an image."""

    files: Mapping[str, Any]
    environment: Mapping[str, Any]


def inspect_image(subject: ProofSubject) -> ImageInspection:
    """Read every file of an image. May run at the same time as the proof."""
    return ImageInspection(files=_read_files(subject), environment=read_environment(subject))


def make_report(
    subject: ProofSubject,
    inspection: ImageInspection,
    reference: str,
    *,
    proof: tuple[ProofResult, ...],
    vendored: tuple[VendoredDistribution, ...],
    source: ProjectSource,
    base: EngineImage,
    seconds: Mapping[str, float],
    relayed: int,
    elsewhere: int,
) -> BuildReport:
    """Return the report on an image. BuildReport documents the arguments."""
    image = subject.engine.get(subject.image)
    files, environment = inspection.files, inspection.environment
    installed = environment["distributions"]
    backends = {canonicalize_name(entry["name"]): entry["backend"] for entry in installed}
    return BuildReport(
        reference=reference,
        id=image.id,
        architecture=image.architecture,
        base=subject.recipe.base,
        size=image.size,
        layers=tuple(_list_layers(subject.recipe, base, files["below"])),
        distributions=tuple(_list_distributions(subject, installed)),
        vendored=vendored,
        built_from_sdist=tuple(
            f"{line} ({backends.get(canonicalize_name(line.split()[0]), 'unknown')})"
            for line in environment["built"]
        ),
        built_with=tuple(environment["builders"]),
        lock=subject.lock.file,
        lock_sha256=subject.lock.sha256,
        revision=source.revision,
        files_sha256=files["digest"],
        files=files["files"],
        relayed=relayed,
        elsewhere=elsewhere,
        left_out=source.left_out,
        proof=proof,
        seconds=seconds,
    )


def _read_files(subject: ProofSubject) -> dict[str, Any]:
    program = "/pypi-mirror/files.py"
    spec = ContainerSpec(
        image=subject.image,
        argv=("python3", program, UV_PATH, venv_path(subject.recipe), subject.recipe.folder),
        user="0",
        capabilities=("DAC_OVERRIDE",),
        files={program: read_program("files.py")},
    )
    with run_container(subject.engine, spec) as container:
        code = container.wait_for_exit("the list of files", subject.deadline.within(300))
        log = container.read_log(stderr=False)
    if code != 0:
        raise EngineError("cannot read the files of the image", why=log[-500:])
    return dict(json.loads(log))


def _list_distributions(
    subject: ProofSubject, installed: list[dict[str, str]]
) -> Iterator[Distribution]:
    hashes = {pin.name: pin.hashes for pin in subject.lock.pins}
    for entry in sorted(installed, key=lambda entry: entry["name"].lower()):
        yield Distribution(
            name=entry["name"],
            version=entry["version"],
            licence=entry["licence"],
            hashes=hashes.get(canonicalize_name(entry["name"]), ()),
        )


def _list_layers(
    recipe: ApplicationRecipe, base: EngineImage, below: Mapping[str, int]
) -> Iterator[Layer]:
    """Yield the base image as one layer, then each other layer with the size of its files.

    The engine's own sizes of layers are wrong if the base image has layers without a history.
    """
    yield Layer(name="system", bytes=base.size)
    yield Layer(name="uv", bytes=below[UV_PATH])
    yield Layer(name="dependencies", bytes=below[venv_path(recipe)])
    yield Layer(name="source", bytes=below[recipe.folder])
