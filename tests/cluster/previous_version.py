"""The version before this one, installed from the git history, with its mirror image."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cache import cache_root, digest, ensure_cached
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.process import run
from tests.conftest import CA_BUNDLE

COMMIT = "98ca8b4"  # version 0.1.0, the last one with its layout
_MIRROR = "from cli.mirror import main; main()"
_BUILD = """
import sys
from pathlib import Path
from images.build import build_mirror, read_ca_bundle
from images.engine import Engine
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
engine = Engine.connect(Deadline.after(900))
image = build_mirror(engine, ca=read_ca_bundle(Path(sys.argv[2])), progress=SILENT)
with open(sys.argv[1], "wb") as archive:
    engine.save(image.reference, archive)
"""


@dataclass(frozen=True, slots=True)
class PreviousVersion:
    """A virtual environment with the console scripts, and the mirror's image as an archive."""

    environment: Path
    archive: Path

    def mirror(self, *words: str, kubeconfig: Path, timeout: float = 600) -> str:
        """Run its `mirror` and return what it prints on stdout. Raises CommandError."""
        env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return run(*self.python, _MIRROR, *words, env=env, timeout=timeout).stdout

    @property
    def python(self) -> tuple[str, ...]:
        """Return the start of a command line that runs code of this version only."""
        return (str(self.environment / "bin/python"), "-I", "-c")


def ensure_previous_version() -> PreviousVersion:
    """Install the previous version and build its image; both are cached."""
    # it refers to the libraries of this environment
    key = digest(COMMIT, sysconfig.get_path("purelib"))
    environment = ensure_cached(f"previous/{key}", _install)
    key = digest(COMMIT, ensure_base_image().name)
    previous = PreviousVersion(environment, cache_root() / f"images/mirror-previous-{key}.tar")
    ensure_cached(f"images/{previous.archive.name}", partial(_build_image, previous))
    return previous


def _install(target: Path) -> None:
    """Build a wheel of the commit and install it beside the libraries that the tests have."""
    source = target.parent / "source"
    tree = subprocess.run(
        ("git", "archive", COMMIT), cwd=REPOSITORY, capture_output=True, timeout=60, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(tree)) as archive:
        archive.extractall(source, filter="data")
    build = ("uv", "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable)
    run(*build, "--out-dir", str(target.parent), str(source), timeout=120)
    (wheel,) = target.parent.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(target), timeout=60)
    python = target / "bin/python"
    run("uv", "pip", "install", "-q", "--no-deps", "--python", str(python), str(wheel), timeout=60)
    (packages,) = target.glob("lib/python*/site-packages")
    # after its own packages, so that the libraries are shared and the project is not
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _build_image(previous: PreviousVersion, target: Path) -> None:
    with docker_engine(target.parent) as engine:
        engine.load(ensure_base_image())
        program = (*previous.python, _BUILD, str(target), CA_BUNDLE)
        run(*program, env=engine.environment(), timeout=900)
