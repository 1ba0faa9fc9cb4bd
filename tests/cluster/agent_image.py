"""An image with the mirror's own code on the base image: all that the node agent needs.

The whole mirror image needs the Docker engine and a minute; where only the agent is under test
this one takes a second. One test runs the agent out of the real image.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.cluster.cache import cached, digest
from tests.cluster.images import Image, ensure_base_image, layer, layers_of, write_archive

ROOT = Path(__file__).parents[2]
SITE = "usr/lib/python3/dist-packages"  # where Debian's python3 looks


def ensure_agent_archive() -> tuple[Path, str]:
    """The archive, and the image's name, which says what is in it."""
    base = ensure_base_image()
    files = {
        f"{SITE}/{path.relative_to(ROOT)}": path.read_bytes()
        for path in sorted((ROOT / "mirror").rglob("*.py"))
    }
    key = digest(base.name, *files, *files.values())
    name = f"lab/agent:{key}"

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            layers: tuple[bytes | Path, ...] = (
                *layers_of(base, Path(scratch)),
                layer(files, {}),
            )
            write_archive(target, [Image(name=name, layers=layers, command=("python3",))])

    return cached(f"images/agent-{key}.tar", make), name
