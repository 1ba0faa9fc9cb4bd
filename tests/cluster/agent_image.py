"""An image with the mirror's own code on the base image: all that the node agent needs.

The whole mirror image needs the Docker engine and a minute; where only the agent is under test
this one takes a second. One test runs the agent out of the real image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.cache import digest, ensure_cached
from tests.cluster.images import (
    ImageContents,
    build_layer,
    ensure_base_image,
    extract_layers,
    write_archive,
)
from tests.cluster.process import run

ROOT = Path(__file__).parents[2]
SITE = "usr/lib/python3/dist-packages"  # where Debian's python3 looks


def ensure_agent_archive() -> tuple[Path, str]:
    """The archive, and the image's name, which says what is in it."""
    base = ensure_base_image()
    files = {
        f"{SITE}/{path.relative_to(ROOT)}": path.read_bytes()
        for path in sorted((ROOT / "mirror").rglob("*.py"))
    }
    key = digest(base.name, "compiled", *files, *files.values())
    name = f"lab/agent:{key}"

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            below = extract_layers(base, Path(scratch))
            files.update(_compiled(below[0], files, Path(scratch) / "root"))
            layers: tuple[bytes | Path, ...] = (*below, build_layer(files, {}))
            write_archive(target, [ImageContents(name=name, layers=layers, command=("python3",))])

    return ensure_cached(f"images/agent-{key}.tar", make), name


def _compiled(base: Path, files: Mapping[str, bytes], root: Path) -> dict[str, bytes]:
    """The bytecode of files, as the mirror's image has it: the agent is started for each question.

    It is the image's own Python that compiles it.
    """
    root.mkdir()
    run("tar", "-xf", str(base), "-C", str(root), timeout=120)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    words = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"/{SITE}/mirror")
    run("chroot", str(root), "python3", *words, timeout=120)
    found = (root / SITE / "mirror").rglob("*.pyc")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(found)}
