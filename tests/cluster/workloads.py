"""A workload as the field has them: Debian's python3, pip, and two static musl uv binaries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tests.cluster.cache import cached, digest
from tests.cluster.images import Image, ensure_base_image, layer, layers_of, write_archive

IMAGE = "lab/workload:1"
UVS = ("0.6.10", "0.13.9")  # the field's, and the newest
LOCK_MAP = "lock"
_PLATFORM = "musllinux_1_1_x86_64"


def ensure_workload_archive() -> Path:
    """The image as `docker save` writes it."""
    base = ensure_base_image()

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            layers = layers_of(base, Path(scratch))
            uvs = layer({f"usr/local/bin/uv-{v}": static_uv(v).read_bytes() for v in UVS}, {})
            write_archive(target, [Image(name=IMAGE, layers=(*layers, uvs))])

    return cached(f"images/workload-{digest(base.name, *UVS)}.tar", make)


def static_uv(version: str) -> Path:
    """The musl uv of a version, from its wheel."""

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            words = ["download", "-q", "--no-deps", "--platform", _PLATFORM, "--dest", scratch]
            subprocess.run(
                [sys.executable, "-m", "pip", *words, "--only-binary=:all:", f"uv=={version}"],
                check=True,
                timeout=300,
            )
            (wheel,) = Path(scratch).glob("*.whl")
            with ZipFile(wheel) as opened:
                inside = f"uv-{version}.data/scripts/uv"
                target.write_bytes(opened.read(inside))
        target.chmod(0o755)

    return cached(f"uv/uv-{version}", make)


def pod(name: str, node: str, command: list[str], *, env_map: str | None) -> dict[str, Any]:
    """A workload's pod on one node; ``env_map`` is taken by envFrom, and nothing else is set."""
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": command,
    }
    if env_map:
        container["envFrom"] = [{"configMapRef": {"name": env_map}}]
    volumes = [{"name": "lock", "configMap": {"name": LOCK_MAP, "optional": True}}]
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
