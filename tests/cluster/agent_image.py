"""An image with only the mirror's own code on the base image, for tests of the node agent.

Building the mirror's image takes a Docker engine and a minute; this one takes a second. Another
test runs the agent from the real image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.images import (
    LabImage,
    build_layer,
    ensure_base_image,
    extract_layers,
    write_archive,
)
from tests.cluster.process import run

SITE = "usr/lib/python3/dist-packages"  # Debian's python3 imports from here


def ensure_agent_archive() -> tuple[Path, str]:
    """Return the archive and the image's name, whose tag is a digest of the contents."""
    base = ensure_base_image()
    files = {
        f"{SITE}/{path.relative_to(REPOSITORY)}": path.read_bytes()
        for path in sorted((REPOSITORY / "mirror").rglob("*.py"))
    }
    key = digest(base.name, "compiled", *files, *files.values())
    name = f"lab/agent:{key}"

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            base_layers = extract_layers(base, Path(scratch))
            files.update(_compile(base_layers[0], files, Path(scratch) / "root"))
            layers: tuple[bytes | Path, ...] = (*base_layers, build_layer(files, {}))
            write_archive(target, [LabImage(name=name, layers=layers, command=("python3",))])

    return ensure_cached(f"images/agent-{key}.tar", make), name


def _compile(base: Path, files: Mapping[str, bytes], root: Path) -> dict[str, bytes]:
    """Return the bytecode of files, compiled by the image's own Python.

    The mirror's image has bytecode too: a new agent process starts for each request.
    """
    root.mkdir()
    run("tar", "-xf", str(base), "-C", str(root), timeout=120)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    compile_all = (
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        f"/{SITE}/mirror",
    )
    run("chroot", str(root), "python3", *compile_all, timeout=120)
    compiled = (root / SITE / "mirror").rglob("*.pyc")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(compiled)}
