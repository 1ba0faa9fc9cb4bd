"""The images beside ours: a Dockerfile as Chronicle's upstream has it, and uv's recommended one."""

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

RUN_BASE = "bench/run:1"  # the lab's base and the recipe's packages of the run stage
BUILD_BASE = "bench/build:1"  # and those of the builder
TOOLS_IMAGE = (
    "bench/tools:1"  # uv, as from its own image, and wheels in place of git and URL sources
)
START_COMMAND = ("uv", "run", "--extra", "deepgram", "python3", "src/advanced_omi_backend/main.py")

# One stage with the compilers in it, as the upstream's.
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

# Nothing installed: each pod does it when it starts.
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
    """The same base with the same packages of the distribution, for all; taken from its archive."""
    for name, below, packages in (
        (RUN_BASE, base, recipe.run_packages),
        (BUILD_BASE, RUN_BASE, recipe.build_packages),
    ):
        text = (
            f"FROM {below}\nRUN apt-get update && "
            "DEBIAN_FRONTEND=noninteractive apt-get install -y "
            f"--no-install-recommends {' '.join(packages)} && apt-get clean && "
            "rm -rf /var/lib/apt/lists/*\n"
        )
        words = ("build", "--network", "host", "--tag", name, "-")
        engine.docker(*words, stdin=text, timeout=1200)


def prepare_project(engine: DockerEngine, chronicle: Path, target: Path) -> Path:
    """Chronicle's stand-in as uv itself takes it: git and URL sources by path, beside it."""
    lock, tools = chronicle.parent / "lock", chronicle.parent / "tools"
    shutil.copytree(chronicle, target)
    found = '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    for name, more in (("uv.lock", ""), ("pyproject.toml", found)):
        text = (lock / name).read_text().replace('path = "wheels/', 'path = "../wheels/')
        (target / name).write_text(text + more)
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
    """By BuildKit, which Debian's own docker command has inside."""
    if fresh:
        engine.docker("builder", "prune", "--all", "--force")
    flags = ("--network", "host", "--tag", tag, *(("--no-cache",) if fresh else ()))
    env = {**engine.environment(), "DOCKER_BUILDKIT": "1"}
    since = time.monotonic()
    done = subprocess.run(
        ["/usr/bin/docker", "build", *flags, str(folder)],
        env=env,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    took = time.monotonic() - since
    return PeerBuild(seconds=took, image=inspect_image(engine, tag)["Id"])


def inspect_image(engine: DockerEngine, image: str) -> Mapping[str, Any]:
    (told,) = json.loads(engine.docker("inspect", image))
    assert isinstance(told, dict)
    return told


def count_pull_bytes(engine: DockerEngine, image: str, had: str) -> int:
    """Bytes, compressed as registries do, of the layers that a node with ``had`` has not."""
    known = set(inspect_image(engine, had)["RootFS"]["Layers"])
    wanted = inspect_image(engine, image)["RootFS"]["Layers"]
    total = 0
    with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
        engine.docker("save", "--output", tar.name, image, timeout=300)
        with tarfile.open(tar.name) as saved:
            manifest = saved.extractfile("manifest.json")
            assert manifest is not None
            names = json.load(manifest)[0]["Layers"]
            for layer, name in zip(wanted, names, strict=True):
                if layer not in known:
                    total += _compressed(saved, name)
    return total


def _compressed(saved: tarfile.TarFile, name: str) -> int:
    member = saved.getmember(name)
    while member.issym():  # the same layer twice in an archive
        member = saved.getmember(normpath(f"{dirname(member.name)}/{member.linkname}"))
    content = saved.extractfile(member)
    assert content is not None
    squeeze, size = zlib.compressobj(6), 0
    while block := content.read(1 << 20):
        size += len(squeeze.compress(block))
    return size + len(squeeze.flush())
