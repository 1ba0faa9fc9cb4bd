"""The Go programs of the cluster, built from Go modules and cached by version."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import versions
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.golang import LINKER_FLAGS, build_program, install_program, read_module_file
from tests.cluster.progress import Progress, ignore_progress

SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Paths of the programs. Each is a static executable."""

    kubelite: Path
    coredns: Path
    provisioner: Path
    registry: Path


def ensure_binaries(progress: Progress = ignore_progress) -> Binaries:
    """Return all programs, building those that are not cached. Reports each build to progress."""

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
            lambda target: install_program(provisioner, target),
        ),
        registry=ensure_registry(progress),
        kubelite=program("kubelite", f"{versions.KUBERNETES}-{digest(main)}", _build_kubelite),
    )


def ensure_registry(progress: Progress = ignore_progress) -> Path:
    """Return the image registry, building it if it is not cached."""
    module = f"github.com/distribution/distribution/v3/cmd/registry@v{versions.REGISTRY}"

    def make(target: Path) -> None:
        progress("building registry (once; cached)")
        install_program(module, target)

    return ensure_cached(f"bin/registry-{versions.REGISTRY}", make)


def ensure_corefile_reader() -> Path:
    """Return a program that parses Corefiles with CoreDNS' own code, building it within seconds."""
    main = SOURCES / "corefile" / "main.go"
    require = f"require github.com/coredns/caddy {versions.CADDY}\n"

    def make(target: Path) -> None:
        build_program(main, f"module lab/corefile\n\ngo 1.24.0\n\n{require}", target)

    return ensure_cached(f"bin/corefile-{versions.CADDY}-{digest(main.read_text())}", make)


def _build_kubelite(target: Path) -> None:
    version = f"-X k8s.io/component-base/version.gitVersion=v{versions.KUBERNETES}"
    main = SOURCES / "kubelite" / "main.go"
    build_program(main, _render_kubernetes_module_file(), target, f"{LINKER_FLAGS} {version}")


def ensure_helm() -> Path:
    """Return a program that lints and renders a chart with Helm's own code."""
    main = SOURCES / "helm" / "main.go"
    staging = "v0." + versions.KUBERNETES.split(".", 1)[1]  # as the cluster: built once
    modules = {f"k8s.io/{name}": staging for name in ("apiserver", "client-go")}
    modules |= {"helm.sh/helm/v3": f"v{versions.HELM}"}
    require = "".join(f"require {name} {version}\n" for name, version in modules.items())

    def make(target: Path) -> None:
        build_program(main, f"module lab/helm\n\ngo 1.24.0\n\n{require}", target)

    return ensure_cached(f"bin/helm-{versions.HELM}-{digest(main.read_text())}", make)


def _build_coredns(target: Path) -> None:
    require = f"require github.com/coredns/coredns v{versions.COREDNS}\n"
    main = SOURCES / "coredns" / "main.go"
    build_program(main, f"module lab/coredns\n\ngo 1.24.0\n\n{require}", target)


def _render_kubernetes_module_file() -> str:
    """Return a go.mod that uses the published versions of Kubernetes' staging modules.

    Kubernetes' own go.mod replaces them with folders of its repository, which do not exist outside
    it. Its go and godebug lines do not apply to a module that requires it either.
    """
    upstream = read_module_file(f"k8s.io/kubernetes@v{versions.KUBERNETES}")
    staging = "v0." + versions.KUBERNETES.split(".", 1)[1]
    settings = re.findall(r"^(?:go|godebug) .*$", upstream, flags=re.MULTILINE)
    names = re.findall(r"^\s*(\S+) => \./staging/", upstream, flags=re.MULTILINE)
    replacements = "".join(f"\t{name} => {name} {staging}\n" for name in names)
    return (
        "module lab/kubelite\n\n"
        + "".join(f"{line}\n" for line in settings)
        + f"\nrequire k8s.io/kubernetes v{versions.KUBERNETES}\n\nreplace (\n{replacements})\n"
    )
