"""What the built image holds, and that it runs where pods run: another user, a root read-only."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from images.build_mirror import INPUTS_LABEL
from images.engine import EngineClient
from tests.cluster.engine import DockerEngine
from tests.images.conftest import BuiltMirrorImage

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.engine, pytest.mark.index]


def out(engine: EngineClient, built: BuiltMirrorImage, *argv: str, user: str | None = None) -> str:
    ran = engine.run(built.image.reference, argv, user=user)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_it_was_built_and_named_by_its_inputs(
    engine: EngineClient, built: BuiltMirrorImage
) -> None:
    assert built.image.built
    held = engine.find(built.image.reference)
    assert held is not None
    assert held.labels[INPUTS_LABEL].startswith(built.image.reference.rpartition("-")[2])
    assert held.labels["org.opencontainers.image.version"]
    if (REPOSITORY / ".git").exists():
        revision = held.labels["org.opencontainers.image.revision"].removesuffix("-dirty")
        assert len(bytes.fromhex(revision)) == 20
    print(f"{built.seconds:.0f} s, {built.image.size / 1e6:.0f} MB")
    assert built.image.size < 300e6


def test_it_runs_as_its_own_user(engine: EngineClient, built: BuiltMirrorImage) -> None:
    assert out(engine, built, "id").startswith("uid=10001(mirror) gid=10001(mirror)")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("devpi-server", "--version"), "6.20.3"),
        (("nginx", "-v"), "nginx version"),
        (("/opt/probe/uv", "--version"), "uv "),
        (("/opt/probe/busybox",), "nslookup"),
        (("python3", "-c", "import sys; print(sys.prefix)"), "/opt/mirror"),
        (("python3", "-m", "mirror.store.prepare", "--help"), "--serverdir"),
    ],
)
def test_its_programs_run(
    engine: EngineClient, built: BuiltMirrorImage, argv: tuple[str, ...], told: str
) -> None:
    assert told in out(engine, built, *argv)


def test_uv_needs_no_library(engine: EngineClient, built: BuiltMirrorImage) -> None:
    """A static program has no interpreter (PT_INTERP, type 3) among its program headers."""
    code = (
        "import struct;d=open('/opt/probe/uv','rb').read(4096);"
        "o,=struct.unpack_from('<Q',d,32);s,n=struct.unpack_from('<HH',d,54);"
        "print([struct.unpack_from('<I',d,o+i*s)[0] for i in range(n)])"
    )
    assert 3 not in json.loads(out(engine, built, "python3", "-c", code))


def test_devpi_initialises_with_a_root_that_is_read_only(
    engine: EngineClient, built: BuiltMirrorImage
) -> None:
    out(engine, built, "devpi-init", "--serverdir", "/tmp/server", "--no-root-pypi")


def test_nobody_has_to_compile(engine: EngineClient, built: BuiltMirrorImage) -> None:
    """Modules that come from sources are slow to start; the official base has no bytecode."""
    code = (
        "import json, mirror.store.prepare as p, devpi_server.main as d, pathlib;"
        "print([pathlib.Path(m.__cached__).exists() for m in (json, p, d)])"
    )
    assert "[True, True, True]" in out(engine, built, "python3", "-W", "ignore", "-c", code)


def test_no_layer_holds_the_ca_a_cache_or_a_path_of_this_machine(
    engine: EngineClient, built: BuiltMirrorImage, tmp_path: Path
) -> None:
    tar = tmp_path / "image.tar"
    with tar.open("wb") as file:
        engine.save(built.image.reference, file)
    names: set[str] = set()
    with tarfile.open(tar) as image:
        for member in image:
            if not member.name.endswith("layer.tar"):
                continue
            layer = image.extractfile(member)
            assert layer is not None
            content = layer.read()
            assert built.ca_line.encode() not in content
            assert str(REPOSITORY).encode() not in content
            layer.seek(0)
            with tarfile.open(fileobj=layer) as files:
                names |= {one.name for one in files if one.isfile()}
    caches = ("root/.cache/", "var/lib/apt/lists/deb", "var/cache/apt/archives/")
    assert not [name for name in names if name.startswith(caches)]
    assert "build/ca.pem" not in names
    assert "opt/probe/uv" in names


def test_the_base_is_all_that_is_shared_with_the_first_stage(
    private: DockerEngine, built: BuiltMirrorImage
) -> None:
    history = private.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", built.image.id)
    assert "PIP_CERT" not in history
