"""The lab's images, written as Docker archives without a registry or an engine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import versions
from tests.cluster.binaries import Binaries
from tests.cluster.cache import digest, ensure_cached
from tests.cluster.debian import debian_mirror
from tests.cluster.process import run
from tests.cluster.progress import Progress, ignore_progress

BUSYBOX = Path("/bin/busybox")
FORMAT_VERSION = "1"
"""Change this when the contents of the cluster's own images change."""

BASE_PACKAGES = "python3,python3-venv,ca-certificates"
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabImage:
    """An image to be written: its name, its layers (uncompressed tars) and what it runs."""

    name: str
    layers: tuple[bytes | Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def ensure_images(binaries: Binaries, progress: Progress = ignore_progress) -> tuple[Path, ...]:
    """Return the archives that every node imports: the cluster's own images and the base image."""
    return ensure_system_images(binaries, progress), ensure_base_image(progress)


def ensure_system_images(binaries: Binaries, progress: Progress = ignore_progress) -> Path:
    """Return one archive with pause, busybox, CoreDNS, the provisioner and the registry."""

    def make(target: Path) -> None:
        progress("writing the cluster's own images (once; cached)")
        write_archive(target, _list_system_images(binaries))

    programs = (binaries.coredns, binaries.provisioner, binaries.registry)
    key = digest(
        FORMAT_VERSION, str(BUSYBOX.stat().st_mtime_ns), *(program.name for program in programs)
    )
    return ensure_cached(f"images/system-{key}.tar", make)


def ensure_base_image(progress: Progress = ignore_progress) -> Path:
    """Return the archive of versions.BASE_IMAGE: Debian's python3 from the machine's mirror."""

    def make(target: Path) -> None:
        progress("bootstrapping the Debian base image (once; cached)")
        root = target.with_suffix(".root.tar")
        options = ("--variant=minbase", f"--include={BASE_PACKAGES}")
        suite = (versions.DEBIAN_SUITE, str(root), debian_mirror())
        run("mmdebstrap", *options, *suite, timeout=900)
        python = build_layer(
            {}, {f"usr/local/bin/{n}": "/usr/bin/python3" for n in ("python", "python3")}
        )
        image = LabImage(name=versions.BASE_IMAGE, layers=(root, python), command=("python3",))
        write_archive(target, [image])

    key = digest(versions.DEBIAN_SUITE, BASE_PACKAGES, versions.BASE_IMAGE)
    return ensure_cached(f"images/base-{versions.DEBIAN_SUITE}-{key}.tar", make)


def extract_layers(archive: Path, scratch: Path) -> tuple[Path, ...]:
    """Unpack an archive with one image into scratch and return the paths of its layers."""
    with tarfile.open(archive) as opened:
        opened.extractall(scratch, filter="data")
    (manifest,) = json.loads((scratch / "manifest.json").read_text())
    return tuple(scratch / name for name in manifest["Layers"])


def write_archive(target: Path, images: Sequence[LabImage]) -> None:
    """Write images in the format of `docker save`, which containerd and Docker can import."""
    manifest: list[dict[str, object]] = []
    with tarfile.open(target, "w") as archive:
        for image in images:
            sums = [_compute_digest(content) for content in image.layers]
            config = json.dumps(_render_config(image, sums)).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add_file(archive, config_name, config)
            for content, layer_sum in zip(image.layers, sums, strict=True):
                _add_file(archive, f"{layer_sum}.tar", content)
            layers = [f"{layer_sum}.tar" for layer_sum in sums]
            named = {"Config": config_name, "RepoTags": [image.name]}
            manifest.append({**named, "Layers": layers})
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())


def _list_system_images(binaries: Binaries) -> list[LabImage]:
    applets = run(str(BUSYBOX), "--list", timeout=10).stdout.split()
    links = {f"bin/{name}": "/bin/busybox" for name in applets if name != "busybox"}
    passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    files = {"bin/busybox": BUSYBOX.read_bytes(), "etc/passwd": passwd}
    shell = build_layer(files, links, folders=("tmp", "root", "var", "proc", "sys", "dev"))
    wait_forever = ("/bin/busybox", "tail", "-f", "/dev/null")
    programs = (
        (versions.COREDNS_IMAGE, "coredns", binaries.coredns),
        (versions.PROVISIONER_IMAGE, "local-path-provisioner", binaries.provisioner),
        (versions.REGISTRY_IMAGE, "registry", binaries.registry),
    )
    return [
        LabImage(name=versions.PAUSE_IMAGE, layers=(shell,), entrypoint=wait_forever),
        LabImage(name=versions.BUSYBOX_IMAGE, layers=(shell,), command=("sh",)),
        *(
            LabImage(
                name=name,
                layers=(build_layer({program: path.read_bytes()}, {}, folders=("tmp",)),),
                entrypoint=(f"/{program}",),
            )
            for name, program, path in programs
        ),
    ]


def _render_config(image: LabImage, sums: Sequence[str]) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [SEARCH_PATH],
            "Entrypoint": list(image.entrypoint) or None,
            "Cmd": list(image.command) or None,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_sum}" for layer_sum in sums]},
    }


def _compute_digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    if name in archive.getnames():
        return
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        return
    info.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(info, file)


def build_layer(
    files: dict[str, bytes], links: dict[str, str], folders: Sequence[str] = ()
) -> bytes:
    """Return a layer of executable files, symbolic links and folders, without timestamps.

    A folder called tmp gets mode 1777, others 0755.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in folders:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()
