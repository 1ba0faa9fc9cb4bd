"""Build the images to compare with: Chronicle's upstream Dockerfile, and the one uv recommends."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

from images.application_recipe import ApplicationRecipe
from tests.cluster.engine import DockerEngine
from tests.cluster.workloads import UV_VERSIONS, ensure_static_uv

RUN_BASE = "bench/run:1"  # the lab's base with the packages of the recipe's run stage
BUILD_BASE = "bench/build:1"  # the same with the packages of the builder
TOOLS_IMAGE = "bench/tools:1"  # uv, and wheels in place of git and URL sources
START_COMMAND = ("uv", "run", "--extra", "deepgram", "python3", "src/advanced_omi_backend/main.py")

# One stage with the compilers in it, as upstream has it.
UPSTREAM_DOCKERFILE = """\
FROM {build}
ENV UV_DEFAULT_INDEX={index}
WORKDIR /app
COPY --from={tools} /uv /bin/uv
COPY --from={tools} /wheels /wheels
COPY pyproject.toml README.md uv.lock ./
RUN mkdir -p src/advanced_omi_backend
COPY src/advanced_omi_backend/__init__.py src/advanced_omi_backend/
RUN uv sync --extra deepgram
COPY . .
CMD {start}
"""

# As uv's documentation recommends: cache and bind mounts, bytecode, the environment copied.
RECOMMENDED_DOCKERFILE = """\
FROM {build} AS builder
ENV UV_DEFAULT_INDEX={index} UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_DEV=1 \\
    UV_PYTHON_DOWNLOADS=0
COPY --from={tools} /uv /bin/uv
COPY --from={tools} /wheels /wheels
WORKDIR /app
RUN --mount=type=cache,target=/root/.cache/uv \\
    --mount=type=bind,source=uv.lock,target=uv.lock \\
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\
    uv sync --locked --no-install-project --extra deepgram
COPY . /app
RUN --mount=type=cache,target=/root/.cache/uv uv sync --locked --extra deepgram

FROM {run}
RUN groupadd --system --gid 999 nonroot && \\
    useradd --system --gid 999 --uid 999 --create-home nonroot
COPY --from=builder --chown=nonroot:nonroot /app /app
ENV PATH="/app/.venv/bin:$PATH"
USER nonroot
WORKDIR /app
CMD ["python3", "src/advanced_omi_backend/main.py"]
"""

# Nothing is installed: each pod installs when it starts.
RUNTIME_DOCKERFILE = """\
FROM {run}
COPY --from={tools} /uv /bin/uv
COPY --from={tools} /wheels /wheels
COPY . /app
WORKDIR /app
CMD {start}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBuild:
    seconds: float
    image: str  # id


def build_base_images(engine: DockerEngine, recipe: ApplicationRecipe, base: str) -> None:
    """Build the bases that all images share, with the packages of the distribution."""
    for name, parent, packages in (
        (RUN_BASE, base, recipe.run_packages),
        (BUILD_BASE, RUN_BASE, recipe.build_packages),
    ):
        text = (
            f"FROM {parent}\nRUN apt-get update && "
            "DEBIAN_FRONTEND=noninteractive apt-get install -y "
            f"--no-install-recommends {' '.join(packages)} && apt-get clean && "
            "rm -rf /var/lib/apt/lists/*\n"
        )
        command = ("build", "--network", "host", "--tag", name, "-")
        engine.docker(*command, stdin=text, timeout=1200)


def prepare_project(engine: DockerEngine, chronicle: Path, target: Path) -> Path:
    """Copy the stand-in for Chronicle for uv: git and URL sources become paths to wheels."""
    lock, tools = chronicle.parent / "lock", chronicle.parent / "tools"
    shutil.copytree(chronicle, target)
    discovery = '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    for name, suffix in (("uv.lock", ""), ("pyproject.toml", discovery)):
        text = (lock / name).read_text().replace('path = "wheels/', 'path = "../wheels/')
        (target / name).write_text(text + suffix)
    shutil.copytree(lock / "wheels", tools / "wheels")
    shutil.copy(ensure_static_uv(UV_VERSIONS[1]), tools / "uv")
    (tools / "Dockerfile").write_text("FROM scratch\nCOPY uv /uv\nCOPY wheels /wheels\n")
    build_image(engine, tools, TOOLS_IMAGE)
    return target


def write_dockerfile(folder: Path, text: str, index: str) -> None:
    values = {"build": BUILD_BASE, "run": RUN_BASE, "tools": TOOLS_IMAGE}
    values |= {"index": index, "start": json.dumps(START_COMMAND)}
    (folder / "Dockerfile").write_text(text.format(**values))
    (folder / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")


def build_image(engine: DockerEngine, folder: Path, tag: str, *, fresh: bool = False) -> PeerBuild:
    """Build with BuildKit, which Debian's docker command includes."""
    if fresh:
        engine.docker("builder", "prune", "--all", "--force")
    flags = ("--network", "host", "--tag", tag, *(("--no-cache",) if fresh else ()))
    env = {**engine.environment(), "DOCKER_BUILDKIT": "1"}
    start = time.monotonic()
    result = subprocess.run(
        ["/usr/bin/docker", "build", *flags, str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    seconds = time.monotonic() - start
    return PeerBuild(seconds=seconds, image=inspect_image(engine, tag)["Id"])


def inspect_image(engine: DockerEngine, image: str) -> Mapping[str, Any]:
    (description,) = json.loads(engine.docker("inspect", image))
    assert isinstance(description, dict)
    return description


def count_pull_bytes(engine: DockerEngine, image: str, present: str) -> int:
    """Return the compressed size of the layers that a node with the image ``present`` lacks."""
    known = set(inspect_image(engine, present)["RootFS"]["Layers"])
    layers = inspect_image(engine, image)["RootFS"]["Layers"]
    total = 0
    with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
        engine.docker("save", "--output", tar.name, image, timeout=300)
        with tarfile.open(tar.name) as saved:
            manifest = saved.extractfile("manifest.json")
            assert manifest is not None
            names = json.load(manifest)[0]["Layers"]
            for layer, name in zip(layers, names, strict=True):
                if layer not in known:
                    total += _compressed_size(saved, name)
    return total


def _compressed_size(saved: tarfile.TarFile, name: str) -> int:
    member = saved.getmember(name)
    while member.issym():  # an archive has a repeated layer as a link
        member = saved.getmember(normpath(f"{dirname(member.name)}/{member.linkname}"))
    content = saved.extractfile(member)
    assert content is not None
    compressor, size = zlib.compressobj(6), 0
    while block := content.read(1 << 20):
        size += len(compressor.compress(block))
    return size + len(compressor.flush())
