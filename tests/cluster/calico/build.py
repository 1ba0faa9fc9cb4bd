"""Calico's CNI plugin and IPAM from its Go module, and the image of the calico-node stand-in."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.cluster import versions
from tests.cluster.binaries import BUILD_SECONDS, LINKER_FLAGS, SOURCES
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.golang import find_go, go_environment
from tests.cluster.images import (
    ImageContents,
    build_layer,
    ensure_base_image,
    extract_layers,
    write_archive,
)
from tests.cluster.process import run
from tests.cluster.progress import Progress, ignore_progress

MODULE = "github.com/projectcalico/calico"
NODE_PROGRAM = Path(__file__).with_name("node.py")


def ensure_plugin(progress: Progress = ignore_progress) -> Path:
    """One static program: the CNI plugin, or calico-ipam where it is called so."""
    main = (SOURCES / "calico" / "main.go").read_text()
    key = digest(versions.CALICO, versions.CALICO_API, versions.HCSSHIM, main)

    def build(target: Path) -> None:
        progress("building calico (once; cached)")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            shutil.copy(SOURCES / "calico" / "main.go", folder)
            (folder / "go.mod").write_text(_module_file(folder))
            go, env = find_go(), go_environment()
            run(go, "mod", "tidy", cwd=folder, env=env, timeout=600)
            argv = (go, "build", "-trimpath", "-ldflags", LINKER_FLAGS, "-o", str(target), ".")
            run(*argv, cwd=folder, env=env, timeout=BUILD_SECONDS)

    return ensure_cached(f"bin/calico-{key}", build)


def ensure_calico_archive(progress: Progress = ignore_progress) -> Path:
    """The image of calico-node: Debian's python3, the plugin, and the stand-in program."""
    plugin, base, program = ensure_plugin(progress), ensure_base_image(progress), NODE_PROGRAM

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            ours = {"calico": plugin.read_bytes(), "node.py": program.read_bytes()}
            layers: tuple[bytes | Path, ...] = (
                *extract_layers(base, Path(scratch)),
                build_layer(ours, {}),
            )
            entry = ("python3", "-u", "/node.py")
            write_archive(
                target, [ImageContents(name=versions.CALICO_IMAGE, layers=layers, entrypoint=entry)]
            )

    key = digest(base.name, plugin.name, program.read_bytes())
    return ensure_cached(f"images/calico-{key}.tar", make)


def _module_file(scratch: Path) -> str:
    """A go.mod with the replacements of Calico's own, which do not reach over to who requires it.

    Its folder api/ is a module of its own, published under another version; hcsshim is Windows',
    and is asked for only because go mod tidy looks at every system.
    """
    (scratch / "go.mod").write_text("module lab/calico\n")
    argv = (find_go(), "mod", "download", "-json", f"{MODULE}@{versions.CALICO}")
    told = run(*argv, cwd=scratch, env=go_environment(), timeout=600).stdout
    place = re.search(r'"GoMod": "(.+)"', told)
    assert place is not None, told
    theirs = Path(place[1]).read_text()
    block = re.search(r"^replace \(\n(.*?)^\)", theirs, flags=re.MULTILINE | re.DOTALL)
    language = re.search(r"^go .*$", theirs, flags=re.MULTILINE)
    assert block is not None
    assert language is not None
    api = "github.com/projectcalico/api"
    replaced = block[1].replace("=> ./api", f"=> {api} {versions.CALICO_API}")
    shim = "github.com/Microsoft/hcsshim"
    return (
        f"module lab/calico\n\n{language[0]}\n\nrequire {MODULE} {versions.CALICO}\n\n"
        f"replace (\n\t{shim} => {shim} {versions.HCSSHIM}\n{replaced})\n"
    )
