"""When the mirror's image is built, which layers, and what a failed build leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mirror
from images import build_mirror as build_mirror_module
from images.build_context import pack_context
from images.build_mirror import build_mirror, read_ca_bundle
from images.engine import EngineClient
from images.mirror_recipe import load_mirror_recipe
from mirror.core.errors import EngineError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from tests.cluster.engine import DockerEngine
from tests.cluster.waiting import wait_for
from tests.images.conftest import BuiltMirrorImage
from tests.images.mirror_archive import connect_engine

pytestmark = [pytest.mark.engine, pytest.mark.index]


def list_images(docker: DockerEngine) -> set[str]:
    return set(docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())


def list_containers(docker: DockerEngine) -> str:
    return docker.docker("ps", "--all", "--quiet").strip()


def list_layers(docker: DockerEngine, image: str) -> list[str]:
    layer_ids: list[str] = json.loads(docker.docker("inspect", image))[0]["RootFS"]["Layers"]
    return layer_ids


@pytest.fixture
def mirror_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of mirror/ that builds use instead of the repository's."""
    code = tmp_path / "mirror"
    shutil.copytree(Path(mirror.__file__).parent, code)
    monkeypatch.setattr(mirror, "__file__", str(code / "__init__.py"))
    return code


def test_reuses_an_unchanged_image(
    engine: EngineClient, mirror_image: BuiltMirrorImage, mirror_copy: Path, ca_bundle: Path
) -> None:
    first = build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    (mirror_copy / "__pycache__").mkdir(exist_ok=True)
    (mirror_copy / "__pycache__" / "left.pyc").write_bytes(b"of another run")
    again = build_mirror(engine, progress=SILENT)
    assert again == replace(first, built=False)


def test_a_code_change_rebuilds_only_the_last_layers(
    docker: DockerEngine,
    engine: EngineClient,
    mirror_image: BuiltMirrorImage,
    mirror_copy: Path,
    ca_bundle: Path,
) -> None:
    (mirror_copy / "added.py").write_text('"""New."""\n')
    changed = build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    assert changed.built
    assert changed.reference != mirror_image.image.reference
    before, after = list_layers(docker, mirror_image.image.id), list_layers(docker, changed.id)
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert all(same[:-2])


@pytest.fixture
def empty_image(docker: DockerEngine, tmp_path: Path) -> str:
    """An image without programs."""
    tar = tmp_path / "empty.tar"
    tar.write_bytes(pack_context({"nothing": b""}).read())
    docker.docker("import", str(tar), "empty:1")
    return "empty:1"


def test_a_failed_build_leaves_no_name_and_no_container(
    docker: DockerEngine,
    engine: EngineClient,
    empty_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = list_images(docker)
    with pytest.raises(EngineError, match="the build failed at: RUN") as failed:
        build_mirror(engine, base=empty_image, progress=SILENT)
    assert "python3" in failed.value.why
    log = Path(failed.value.next_step.partition(": ")[2])
    assert "Step 1/" in log.read_text()
    assert list_images(docker) == before
    assert not list_containers(docker)


def test_an_image_that_fails_its_checks_gets_no_name(
    docker: DockerEngine,
    engine: EngineClient,
    mirror_image: BuiltMirrorImage,
    mirror_copy: Path,
    ca_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (mirror_copy / "other.py").write_text('"""Makes another image."""\n')
    broken = replace(load_mirror_recipe(), checks=(("false",),))
    monkeypatch.setattr(build_mirror_module, "load_mirror_recipe", lambda: broken)
    before = list_images(docker)
    with pytest.raises(EngineError, match="false does not run in it"):
        build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    assert list_images(docker) == before
    assert not list_containers(docker)


SLOW = 'FROM python:3.13-slim-trixie\nRUN ["sleep", "300"]\n'
BUILD_SLOWLY = """
import io, sys
from images.build_context import pack_context
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from tests.images.mirror_archive import connect_engine
engine = connect_engine(sys.argv[1])
context = pack_context({"Dockerfile": sys.argv[2].encode()})
engine.build(context, log=io.StringIO(), progress=SILENT, labels={})
"""


def test_ctrl_c_stops_the_build_in_the_engine(docker: DockerEngine) -> None:
    child = subprocess.Popen(
        (sys.executable, "-c", BUILD_SLOWLY, docker.host, SLOW),
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("the build's container", lambda: bool(list_containers(docker)), timeout=120)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) != 0
        wait_for("the container's end", lambda: not list_containers(docker), timeout=60)
    finally:
        child.kill()
        child.wait(10)


def test_a_build_stops_at_its_deadline(docker: DockerEngine, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, pytest.raises(EngineError, match="in time"):
        connect_engine(docker.host, seconds=3).build(
            pack_context({"Dockerfile": SLOW.encode()}), log=log, progress=SILENT, labels={}
        )
    wait_for("the container's end", lambda: not list_containers(docker), timeout=60)


def test_reports_a_missing_base_image(engine: EngineClient) -> None:
    with pytest.raises(EngineError, match="no base image") as missing:
        build_mirror(engine, base="registry.invalid/base:1", progress=SILENT)
    assert missing.value.why
    assert "--base" in missing.value.next_step


def test_uses_the_docker_context(
    docker: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    arguments = ("context", "create", "private", "--docker", f"host={docker.host}")
    subprocess.run(("docker", *arguments), env=environment, check=True, capture_output=True)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "private")
    assert EngineClient.connect(Deadline.after(20)).find("python:3.13-slim-trixie")
    monkeypatch.setenv("DOCKER_CONTEXT", "another")
    with pytest.raises(EngineError, match="no docker context another"):
        EngineClient.connect(Deadline.after(20))
    monkeypatch.delenv("DOCKER_CONTEXT")
    (tmp_path / "config.json").write_text('{"currentContext": "private"}')
    assert EngineClient.connect(Deadline.after(20)).find("python:3.13-slim-trixie")
