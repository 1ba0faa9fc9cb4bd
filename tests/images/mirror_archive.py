"""The mirror's image as an archive, built once and cached, for tests that only need the image."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

from images.build_mirror import build_mirror, collect_context_files, read_ca_bundle
from images.engine import EngineClient
from images.mirror_dockerfile import render_mirror_dockerfile
from images.mirror_recipe import load_mirror_recipe
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image

BUILD_SECONDS = 900
SYSTEM_CA = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))


def ensure_mirror_archive() -> Path:
    """Return the archive, in the format of `docker save`. The cache key is the image's inputs."""

    def make(target: Path) -> None:
        with docker_engine(target.parent) as docker:
            docker.load(ensure_base_image())
            engine = connect_engine(docker.host)
            image = build_mirror(engine, ca=read_ca_bundle(SYSTEM_CA), progress=SILENT)
            with target.open("wb") as out:
                engine.save(image.reference, out)

    recipe = load_mirror_recipe()
    parts = {
        **collect_context_files(recipe),
        "Dockerfile": render_mirror_dockerfile(
            recipe, base=recipe.base, architecture="amd64", ca=True
        ).encode(),
        "base": ensure_base_image().name.encode(),
    }
    key = digest(*(part for item in sorted(parts.items()) for part in item))
    return ensure_cached(f"images/mirror-{key}.tar", make)


def archive_reference(archive: Path) -> str:
    """Return the name of the image in an archive, as nodes write it."""
    with tarfile.open(archive) as opened:
        manifest = opened.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.loads(manifest.read())
    return f"docker.io/library/{image['RepoTags'][0]}"


def connect_engine(host: str, seconds: float = BUILD_SECONDS) -> EngineClient:
    """Connect to the engine at an address, regardless of the environment."""
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = host
    try:
        return EngineClient.connect(Deadline.after(seconds))
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
