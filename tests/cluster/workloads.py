"""A workload image with Debian's python3, pip, and two static musl uv binaries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tests.cluster.cache import digest, ensure_cached
from tests.cluster.images import (
    LabImage,
    build_layer,
    ensure_base_image,
    extract_layers,
    write_archive,
)

WORKLOAD_IMAGE = "lab/workload:1"
UV_VERSIONS = ("0.6.10", "0.13.9")  # the reported one, and the newest
LOCK_CONFIG_MAP = "lock"
_PLATFORM = "musllinux_1_1_x86_64"


def ensure_workload_archive() -> Path:
    """Return the image's archive in the format of `docker save`."""
    base = ensure_base_image()

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            layers = extract_layers(base, Path(scratch))
            uvs = build_layer(
                {f"usr/local/bin/uv-{v}": ensure_static_uv(v).read_bytes() for v in UV_VERSIONS}, {}
            )
            write_archive(target, [LabImage(name=WORKLOAD_IMAGE, layers=(*layers, uvs))])

    return ensure_cached(f"images/workload-{digest(base.name, *UV_VERSIONS)}.tar", make)


def ensure_static_uv(version: str) -> Path:
    """Return the musl uv of a version, from its wheel."""

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            options = ["download", "-q", "--no-deps", "--platform", _PLATFORM, "--dest", scratch]
            subprocess.run(
                [sys.executable, "-m", "pip", *options, "--only-binary=:all:", f"uv=={version}"],
                check=True,
                timeout=300,
            )
            (wheel,) = Path(scratch).glob("*.whl")
            with ZipFile(wheel) as archive:
                member = f"uv-{version}.data/scripts/uv"
                target.write_bytes(archive.read(member))
        target.chmod(0o755)

    return ensure_cached(f"uv/uv-{version}", make)


def build_pod(name: str, node: str, command: list[str], *, env_map: str | None) -> dict[str, Any]:
    """Return a workload's pod on a node. Its only variables are those of the ConfigMap env_map."""
    container: dict[str, Any] = {
        "name": "main",
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "command": command,
    }
    if env_map:
        container["envFrom"] = [{"configMapRef": {"name": env_map}}]
    volumes = [{"name": "lock", "configMap": {"name": LOCK_CONFIG_MAP, "optional": True}}]
    container["volumeMounts"] = [{"name": "lock", "mountPath": "/lock"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "chronicle"},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": volumes,
        },
    }
