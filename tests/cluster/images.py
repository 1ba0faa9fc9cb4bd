"""The images of the lab as Docker archives, written by hand: no registry and no engine is asked."""

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
"""To be changed when what is put into the cluster's own images changes."""

BASE_PACKAGES = "python3,python3-venv,ca-certificates"
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContents:
    """An image to be written: its name, its layers (uncompressed tars) and what it runs."""

    name: str
    layers: tuple[bytes | Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def ensure_images(binaries: Binaries, progress: Progress = ignore_progress) -> tuple[Path, ...]:
    """The archives that every node imports: what the cluster runs itself, then the base image."""
    return ensure_system_images(binaries, progress), ensure_base_image(progress)


def ensure_system_images(binaries: Binaries, progress: Progress = ignore_progress) -> Path:
    """One archive with pause, busybox, CoreDNS, the provisioner and the registry."""

    def make(target: Path) -> None:
        progress("writing the cluster's own images (once; cached)")
        write_archive(target, _system_images(binaries))

    programs = (binaries.coredns, binaries.provisioner, binaries.registry)
    key = digest(
        FORMAT_VERSION, str(BUSYBOX.stat().st_mtime_ns), *(program.name for program in programs)
    )
    return ensure_cached(f"images/system-{key}.tar", make)


def ensure_base_image(progress: Progress = ignore_progress) -> Path:
    """The archive of versions.BASE_IMAGE: Debian's own python3 from the machine's mirror."""

    def make(target: Path) -> None:
        progress("bootstrapping the Debian base image (once; cached)")
        root = target.with_suffix(".root.tar")
        options = ("--variant=minbase", f"--include={BASE_PACKAGES}")
        suite = (versions.DEBIAN_SUITE, str(root), debian_mirror())
        run("mmdebstrap", *options, *suite, timeout=900)
        python = build_layer(
            {}, {f"usr/local/bin/{n}": "/usr/bin/python3" for n in ("python", "python3")}
        )
        image = ImageContents(name=versions.BASE_IMAGE, layers=(root, python), command=("python3",))
        write_archive(target, [image])

    key = digest(versions.DEBIAN_SUITE, BASE_PACKAGES, versions.BASE_IMAGE)
    return ensure_cached(f"images/base-{versions.DEBIAN_SUITE}-{key}.tar", make)


def extract_layers(archive: Path, scratch: Path) -> tuple[Path, ...]:
    """The layers of an archive with one image, unpacked under scratch."""
    with tarfile.open(archive) as opened:
        opened.extractall(scratch, filter="data")
    (manifest,) = json.loads((scratch / "manifest.json").read_text())
    return tuple(scratch / name for name in manifest["Layers"])


def write_archive(target: Path, images: Sequence[ImageContents]) -> None:
    """Write the images as `docker save` does; both containerd and the engine take it."""
    manifest: list[dict[str, object]] = []
    with tarfile.open(target, "w") as archive:
        for image in images:
            sums = [_layer_sum(one) for one in image.layers]
            config = json.dumps(_config(image, sums)).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, config_name, config)
            for content, layer_sum in zip(image.layers, sums, strict=True):
                _add(archive, f"{layer_sum}.tar", content)
            layers = [f"{layer_sum}.tar" for layer_sum in sums]
            named = {"Config": config_name, "RepoTags": [image.name]}
            manifest.append({**named, "Layers": layers})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _system_images(binaries: Binaries) -> list[ImageContents]:
    applets = run(str(BUSYBOX), "--list", timeout=10).stdout.split()
    links = {f"bin/{name}": "/bin/busybox" for name in applets if name != "busybox"}
    passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    files = {"bin/busybox": BUSYBOX.read_bytes(), "etc/passwd": passwd}
    shell = build_layer(files, links, folders=("tmp", "root", "var", "proc", "sys", "dev"))
    waiting = ("/bin/busybox", "tail", "-f", "/dev/null")
    programs = (
        (versions.COREDNS_IMAGE, "coredns", binaries.coredns),
        (versions.PROVISIONER_IMAGE, "local-path-provisioner", binaries.provisioner),
        (versions.REGISTRY_IMAGE, "registry", binaries.registry),
    )
    return [
        ImageContents(name=versions.PAUSE_IMAGE, layers=(shell,), entrypoint=waiting),
        ImageContents(name=versions.BUSYBOX_IMAGE, layers=(shell,), command=("sh",)),
        *(
            ImageContents(
                name=name,
                layers=(build_layer({program: path.read_bytes()}, {}, folders=("tmp",)),),
                entrypoint=(f"/{program}",),
            )
            for name, program, path in programs
        ),
    ]


def _config(image: ImageContents, sums: Sequence[str]) -> dict[str, object]:
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


def _layer_sum(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    if name in archive.getnames():
        return
    entry = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(entry, file)


def build_layer(
    files: dict[str, bytes], links: dict[str, str], folders: Sequence[str] = ()
) -> bytes:
    """A layer of executable files, symbolic links and world-writable folders, without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as written:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            written.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            written.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            written.addfile(entry)
    return buffer.getvalue()
