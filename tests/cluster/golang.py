"""A Go command that can build Kubernetes: the installed one, or a toolchain fetched as a module."""

from __future__ import annotations

import json
import os
import re
import shutil
from functools import cache
from pathlib import Path

from tests.cluster import versions
from tests.cluster.debian import install_debian_packages
from tests.cluster.process import run


def go_environment(**more: str) -> dict[str, str]:
    """The process environment with what every build here needs."""
    ours = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "auto"}
    # A GOROOT of another Go would be taken for the fetched one's.
    theirs = {name: value for name, value in os.environ.items() if name != "GOROOT"}
    return {**theirs, **ours, **more}


@cache
def find_go() -> str:
    """The path of a go command of at least versions.GO_MINIMUM.

    Without any Go, Debian's is installed; one that is too old fetches versions.GO as the module
    golang.org/toolchain, which its checksum database vouches for like for any other module.
    """
    found = shutil.which("go")
    if found is None:
        install_debian_packages(("golang-go",))
        found = shutil.which("go") or "/usr/bin/go"
    if _version(found) >= versions.GO_MINIMUM:
        return found
    return fetch_toolchain(found)


def fetch_toolchain(old_go: str) -> str:
    """The go command of versions.GO, downloaded into the module cache by an older go."""
    module = f"golang.org/toolchain@v0.0.1-go{versions.GO}.linux-amd64"
    done = run(old_go, "mod", "download", "-json", module, timeout=600, env=go_environment())
    folder = Path(json.loads(done.stdout)["Dir"])
    # A module's files are never executable, and its folders are read-only.
    for tool in (*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")):
        tool.chmod(0o755)
    return str(folder / "bin" / "go")


def _version(go: str) -> tuple[int, ...]:
    found = re.search(r"go(\d+)\.(\d+)", run(go, "version", timeout=30).stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
