"""Find or download a Go toolchain that can build Kubernetes, and build Go modules with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster import versions
from tests.cluster.debian import install_debian_packages
from tests.cluster.process import run

LINKER_FLAGS = "-s -w"
BUILD_SECONDS = 2400
"""Kubernetes takes 6 minutes on 2 idle cores, and twice that beside other builds."""


def go_environment(**variables: str) -> dict[str, str]:
    """Return the process environment for Go builds, with more variables."""
    ours = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "auto"}
    # A downloaded toolchain would use the GOROOT of another one.
    inherited = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    return {**inherited, **ours, **variables}


@cache
def find_go() -> str:
    """Return the path of a go command of at least versions.GO_MINIMUM.

    Installs Debian's Go if there is none. A Go that is too old downloads versions.GO as the module
    golang.org/toolchain, which the checksum database covers like any other module.
    """
    go = shutil.which("go")
    if go is None:
        install_debian_packages(("golang-go",))
        go = shutil.which("go") or "/usr/bin/go"
    if _read_version(go) >= versions.GO_MINIMUM:
        return go
    return fetch_toolchain(go)


def fetch_toolchain(old_go: str) -> str:
    """Download versions.GO into the module cache with an older go; return its go command."""
    module = f"golang.org/toolchain@v0.0.1-go{versions.GO}.linux-amd64"
    download = run(old_go, "mod", "download", "-json", module, timeout=600, env=go_environment())
    folder = Path(json.loads(download.stdout)["Dir"])
    # Files of a module are not executable.
    for tool in (*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")):
        tool.chmod(0o755)
    return str(folder / "bin" / "go")


def build_program(main: Path, go_mod: str, target: Path, flags: str = LINKER_FLAGS) -> None:
    """Build a one-file Go program with a go.mod of this text; flags are for the linker."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(main, folder)
        (folder / "go.mod").write_text(go_mod)
        go, env = find_go(), go_environment()
        run(go, "mod", "tidy", cwd=folder, env=env, timeout=600)
        argv = (go, "build", "-trimpath", "-ldflags", flags, "-o", str(target), ".")
        run(*argv, cwd=folder, env=env, timeout=BUILD_SECONDS)


def install_program(package: str, target: Path) -> None:
    """Build the program of a published Go package, given as PATH@VERSION."""
    with tempfile.TemporaryDirectory() as scratch:
        argv = (find_go(), "install", "-trimpath", "-ldflags", LINKER_FLAGS, package)
        run(*argv, env=go_environment(GOBIN=scratch), timeout=BUILD_SECONDS)
        (program,) = Path(scratch).iterdir()
        shutil.move(program, target)


def read_module_file(module: str) -> str:
    """Download a module, given as PATH@VERSION, and return its go.mod."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "go.mod").write_text("module lab/download\n")
        argv = (find_go(), "mod", "download", "-json", module)
        download = run(*argv, cwd=Path(scratch), env=go_environment(), timeout=600)
    return Path(json.loads(download.stdout)["GoMod"]).read_text()


def _read_version(go: str) -> tuple[int, ...]:
    match = re.search(r"go(\d+)\.(\d+)", run(go, "version", timeout=30).stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)
