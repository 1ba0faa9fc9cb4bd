"""Inspect a built image: its files, layers and distributions."""

from __future__ import annotations

import json
from typing import Any

from packaging.utils import canonicalize_name

from images.application_dockerfile import UV_PATH, venv_path
from images.engine import EngineImage
from images.engine.containers import ContainerSpec, run_to_end
from images.inside import read_program
from images.proof import ProofSubject
from images.proof.distributions import read_environment
from images.report import BuildReport, Distribution, Layer
from mirror.core.errors import EngineError


def inspect_image(subject: ProofSubject, base: EngineImage) -> BuildReport:
    """Report what is in an image. Reads every file; may run at the same time as the proof.

    The base image counts as one layer, since the engine's own sizes of layers are wrong if it has
    layers without a history.
    """
    recipe, image = subject.recipe, subject.engine.get(subject.image)
    files, environment = _read_files(subject), read_environment(subject)
    below = files["below"]
    layers = {
        "system": base.size,
        "uv": below[UV_PATH],
        "dependencies": below[venv_path(recipe)],
        "source": below[recipe.folder],
    }
    hashes = {pin.name: pin.hashes for pin in subject.lock.pins}
    installed = sorted(environment["distributions"], key=lambda entry: entry["name"].lower())
    backends = {canonicalize_name(entry["name"]): entry["backend"] for entry in installed}
    return BuildReport(
        id=image.id,
        architecture=image.architecture,
        base=recipe.base,
        size=image.size,
        layers=tuple(Layer(name=name, bytes=size) for name, size in layers.items()),
        distributions=tuple(
            Distribution(
                name=entry["name"],
                version=entry["version"],
                licence=entry["licence"],
                hashes=hashes.get(canonicalize_name(entry["name"]), ()),
            )
            for entry in installed
        ),
        built_from_sdist=tuple(
            f"{line} ({backends.get(canonicalize_name(line.split()[0]), 'unknown')})"
            for line in environment["built"]
        ),
        built_with=tuple(environment["builders"]),
        lock=subject.lock.file,
        lock_sha256=subject.lock.sha256,
        files_sha256=files["digest"],
        files=files["files"],
    )


def _read_files(subject: ProofSubject) -> dict[str, Any]:
    """Return what images/inside/files.py prints in the image."""
    program = "/pypi-mirror/files.py"
    spec = ContainerSpec(
        image=subject.image,
        argv=("python3", program, UV_PATH, venv_path(subject.recipe), subject.recipe.folder),
        user="0",
        capabilities=("DAC_OVERRIDE",),
        files={program: read_program("files.py")},
    )
    result = run_to_end(subject.engine, spec, "the list of files")
    if result.exit_code != 0:
        raise EngineError("cannot read the files of the image", why=result.output[-500:])
    return dict(json.loads(result.stdout))
