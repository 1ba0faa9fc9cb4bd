"""The content of the mirror's image, and that it runs as pods run: unprivileged, read-only."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from images.build_mirror import INPUTS_LABEL
from images.engine import EngineClient
from images.engine.containers import ContainerSpec, run_to_end
from tests.cluster.engine import DockerEngine
from tests.images.conftest import BuiltMirrorImage

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.engine, pytest.mark.index]


def run(
    engine: EngineClient, mirror_image: BuiltMirrorImage, *argv: str, user: str | None = None
) -> str:
    image = mirror_image.image.reference
    spec = ContainerSpec(image=image, argv=argv, user=user, read_only=True)
    result = run_to_end(engine, spec, argv[0], seconds=60)
    assert result.exit_code == 0, result.output
    return result.output


def test_is_named_by_its_inputs(engine: EngineClient, mirror_image: BuiltMirrorImage) -> None:
    assert mirror_image.image.built
    image = engine.find(mirror_image.image.reference)
    assert image is not None
    assert image.labels[INPUTS_LABEL].startswith(mirror_image.image.reference.rpartition("-")[2])
    assert image.labels["org.opencontainers.image.version"]
    if (REPOSITORY / ".git").exists():
        revision = image.labels["org.opencontainers.image.revision"].removesuffix("-dirty")
        assert len(bytes.fromhex(revision)) == 20
    print(f"{mirror_image.seconds:.0f} s, {mirror_image.image.size / 1e6:.0f} MB")
    assert mirror_image.image.size < 300e6


def test_runs_as_its_own_user(engine: EngineClient, mirror_image: BuiltMirrorImage) -> None:
    assert run(engine, mirror_image, "id").startswith("uid=10001(mirror) gid=10001(mirror)")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("devpi-server", "--version"), "6.20.3"),
        (("nginx", "-v"), "nginx version"),
        (("/opt/probe/uv", "--version"), "uv "),
        (("/opt/probe/busybox",), "nslookup"),
        (("python3", "-c", "import sys; print(sys.prefix)"), "/opt/mirror"),
        (("python3", "-m", "mirror.store.prepare", "--help"), "--serverdir"),
    ],
)
def test_programs_run(
    engine: EngineClient, mirror_image: BuiltMirrorImage, argv: tuple[str, ...], expected: str
) -> None:
    assert expected in run(engine, mirror_image, *argv)


def test_uv_is_static(engine: EngineClient, mirror_image: BuiltMirrorImage) -> None:
    """A static program has no interpreter (PT_INTERP, type 3) among its program headers."""
    code = (
        "import struct;d=open('/opt/probe/uv','rb').read(4096);"
        "o,=struct.unpack_from('<Q',d,32);s,n=struct.unpack_from('<HH',d,54);"
        "print([struct.unpack_from('<I',d,o+i*s)[0] for i in range(n)])"
    )
    assert 3 not in json.loads(run(engine, mirror_image, "python3", "-c", code))


def test_devpi_initializes_on_a_read_only_root(
    engine: EngineClient, mirror_image: BuiltMirrorImage
) -> None:
    run(engine, mirror_image, "devpi-init", "--serverdir", "/tmp/server", "--no-root-pypi")


def test_has_bytecode_of_everything(engine: EngineClient, mirror_image: BuiltMirrorImage) -> None:
    """Without bytecode, a start is slow; the official base image has none."""
    code = (
        "import json, mirror.store.prepare as p, devpi_server.main as d, pathlib;"
        "print([pathlib.Path(m.__cached__).exists() for m in (json, p, d)])"
    )
    assert "[True, True, True]" in run(engine, mirror_image, "python3", "-W", "ignore", "-c", code)


def test_no_layer_has_the_ca_a_cache_or_a_local_path(
    engine: EngineClient, mirror_image: BuiltMirrorImage, tmp_path: Path
) -> None:
    tar = tmp_path / "image.tar"
    with tar.open("wb") as file:
        engine.save(mirror_image.image.reference, file)
    names: set[str] = set()
    with tarfile.open(tar) as image:
        for member in image:
            if not member.name.endswith("layer.tar"):
                continue
            layer = image.extractfile(member)
            assert layer is not None
            content = layer.read()
            assert mirror_image.ca_line.encode() not in content
            assert str(REPOSITORY).encode() not in content
            layer.seek(0)
            with tarfile.open(fileobj=layer) as files:
                names |= {entry.name for entry in files if entry.isfile()}
    caches = ("root/.cache/", "var/lib/apt/lists/deb", "var/cache/apt/archives/")
    assert not [name for name in names if name.startswith(caches)]
    assert "build/ca.pem" not in names
    assert "opt/probe/uv" in names


def test_shares_only_the_base_with_the_first_stage(
    docker: DockerEngine, mirror_image: BuiltMirrorImage
) -> None:
    history = docker.docker(
        "history", "--no-trunc", "--format", "{{.CreatedBy}}", mirror_image.image.id
    )
    assert "PIP_CERT" not in history
