"""Build Calico's CNI plugin and IPAM from its Go module, and the image of the stand-in."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tests.cluster import versions
from tests.cluster.binaries import SOURCES
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.golang import build_program, read_module_file
from tests.cluster.images import (
    LabImage,
    build_layer,
    ensure_base_image,
    extract_layers,
    write_archive,
)
from tests.cluster.progress import Progress, ignore_progress

MODULE = "github.com/projectcalico/calico"
NODE_PROGRAM = Path(__file__).with_name("node.py")


def ensure_plugin(progress: Progress = ignore_progress) -> Path:
    """Return one static program that is the CNI plugin, or calico-ipam if it is called that."""
    main = SOURCES / "calico" / "main.go"
    key = digest(versions.CALICO, versions.CALICO_API, versions.HCSSHIM, main.read_text())

    def build(target: Path) -> None:
        progress("building calico (once; cached)")
        build_program(main, _render_module_file(), target)

    return ensure_cached(f"bin/calico-{key}", build)


def ensure_calico_archive(progress: Progress = ignore_progress) -> Path:
    """Return the stand-in's image archive: Debian's python3, the plugin, and node.py."""
    plugin, base, program = ensure_plugin(progress), ensure_base_image(progress), NODE_PROGRAM

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            files = {"calico": plugin.read_bytes(), "node.py": program.read_bytes()}
            image = LabImage(
                name=versions.CALICO_IMAGE,
                layers=(*extract_layers(base, Path(scratch)), build_layer(files, {})),
                entrypoint=("python3", "-u", "/node.py"),
            )
            write_archive(target, [image])

    key = digest(base.name, plugin.name, program.read_bytes())
    return ensure_cached(f"images/calico-{key}.tar", make)


def _render_module_file() -> str:
    """Return a go.mod with Calico's own replacements, which apply only inside its repository.

    Calico's folder api/ is a module of its own, published under another version. hcsshim is for
    Windows and needed only because `go mod tidy` looks at every platform.
    """
    upstream = read_module_file(f"{MODULE}@{versions.CALICO}")
    block = re.search(r"^replace \(\n(.*?)^\)", upstream, flags=re.MULTILINE | re.DOTALL)
    go_version = re.search(r"^go .*$", upstream, flags=re.MULTILINE)
    assert block is not None
    assert go_version is not None
    api = "github.com/projectcalico/api"
    replacements = block[1].replace("=> ./api", f"=> {api} {versions.CALICO_API}")
    shim = "github.com/Microsoft/hcsshim"
    return (
        f"module lab/calico\n\n{go_version[0]}\n\nrequire {MODULE} {versions.CALICO}\n\n"
        f"replace (\n\t{shim} => {shim} {versions.HCSSHIM}\n{replacements})\n"
    )
