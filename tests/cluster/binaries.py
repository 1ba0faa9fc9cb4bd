"""The Go programs of the cluster, built from Go modules once and cached by version."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import versions
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.golang import find_go, go_environment
from tests.cluster.process import run
from tests.cluster.progress import Progress, ignore_progress

SOURCES = Path(__file__).parent / "go"
LINKER_FLAGS = "-s -w"
BUILD_SECONDS = 2400
"""Kubernetes takes 6 minutes alone on 2 cores, twice that beside other builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The built programs, each a static executable."""

    kubelite: Path
    coredns: Path
    provisioner: Path
    registry: Path


def ensure_binaries(progress: Progress = ignore_progress) -> Binaries:
    """All programs, from the cache or built now; progress gets a line before each build."""

    def program(name: str, key: str, make: Callable[[Path], None]) -> Path:
        def build(target: Path) -> None:
            progress(f"building {name} (once; cached)")
            make(target)

        return ensure_cached(f"bin/{name}-{key}", build)

    main = (SOURCES / "kubelite" / "main.go").read_text()
    dns = (SOURCES / "coredns" / "main.go").read_text()
    provisioner = f"github.com/rancher/local-path-provisioner@v{versions.LOCAL_PATH_PROVISIONER}"
    return Binaries(
        coredns=program("coredns", f"{versions.COREDNS}-{digest(dns)}", _build_coredns),
        provisioner=program(
            "local-path-provisioner",
            versions.LOCAL_PATH_PROVISIONER,
            lambda target: _install(provisioner, target),
        ),
        registry=ensure_registry(progress),
        kubelite=program("kubelite", f"{versions.KUBERNETES}-{digest(main)}", _build_kubelite),
    )


def ensure_registry(progress: Progress = ignore_progress) -> Path:
    """The image registry alone."""
    module = f"github.com/distribution/distribution/v3/cmd/registry@v{versions.REGISTRY}"

    def make(target: Path) -> None:
        progress("building registry (once; cached)")
        _install(module, target)

    return ensure_cached(f"bin/registry-{versions.REGISTRY}", make)


def ensure_corefile_reader() -> Path:
    """A program that reads Corefiles by CoreDNS' own code; seconds to build."""
    main = SOURCES / "corefile" / "main.go"

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            shutil.copy(main, folder)
            require = f"require github.com/coredns/caddy {versions.CADDY}\n"
            (folder / "go.mod").write_text(f"module lab/corefile\n\ngo 1.24.0\n\n{require}")
            _build(folder, target, LINKER_FLAGS)

    return ensure_cached(f"bin/corefile-{versions.CADDY}-{digest(main.read_text())}", make)


def _build_kubelite(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(SOURCES / "kubelite" / "main.go", folder)
        (folder / "go.mod").write_text(_kubernetes_module_file())
        version = f"-X k8s.io/component-base/version.gitVersion=v{versions.KUBERNETES}"
        _build(folder, target, f"{LINKER_FLAGS} {version}")


def _build_coredns(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copy(SOURCES / "coredns" / "main.go", folder)
        (folder / "go.mod").write_text(
            "module lab/coredns\n\ngo 1.24.0\n\n"
            f"require github.com/coredns/coredns v{versions.COREDNS}\n"
        )
        _build(folder, target, LINKER_FLAGS)


def _build(folder: Path, target: Path, flags: str) -> None:
    go, env = find_go(), go_environment()
    run(go, "mod", "tidy", cwd=folder, env=env, timeout=600)
    argv = (go, "build", "-trimpath", "-ldflags", flags, "-o", str(target), ".")
    run(*argv, cwd=folder, env=env, timeout=BUILD_SECONDS)


def _install(package: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        argv = (find_go(), "install", "-trimpath", "-ldflags", LINKER_FLAGS, package)
        run(*argv, env=go_environment(GOBIN=scratch), timeout=BUILD_SECONDS)
        (built,) = Path(scratch).iterdir()
        shutil.move(built, target)


def _kubernetes_module_file() -> str:
    """A go.mod that takes the staging modules of Kubernetes in their published versions.

    Kubernetes' own go.mod replaces each by a folder of its repository, which a module that
    requires it does not have; its go and godebug lines do not reach over either.
    """
    module = f"k8s.io/kubernetes@v{versions.KUBERNETES}"
    argv = (find_go(), "mod", "download", "-json", module)
    done = run(*argv, env=go_environment(), timeout=600)
    theirs = Path(json.loads(done.stdout)["GoMod"]).read_text()
    staging = "v0." + versions.KUBERNETES.split(".", 1)[1]
    settings = re.findall(r"^(?:go|godebug) .*$", theirs, flags=re.MULTILINE)
    names = re.findall(r"^\s*(\S+) => \./staging/", theirs, flags=re.MULTILINE)
    replaced = "".join(f"\t{name} => {name} {staging}\n" for name in names)
    return (
        "module lab/kubelite\n\n"
        + "".join(f"{line}\n" for line in settings)
        + f"\nrequire k8s.io/kubernetes v{versions.KUBERNETES}\n\nreplace (\n{replaced})\n"
    )
