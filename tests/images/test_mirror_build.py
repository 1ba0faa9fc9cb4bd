"""When the image is built, how little of it, and what a build that fails leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
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


def named(private: DockerEngine) -> set[str]:
    return set(private.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())


def containers(private: DockerEngine) -> str:
    return private.docker("ps", "--all", "--quiet").strip()


def layers(private: DockerEngine, image: str) -> list[str]:
    told: list[str] = json.loads(private.docker("inspect", image))[0]["RootFS"]["Layers"]
    return told


@pytest.fixture
def copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of mirror/ that builds take instead of the repository's."""
    code = tmp_path / "mirror"
    shutil.copytree(Path(mirror.__file__).parent, code)
    monkeypatch.setattr(mirror, "__file__", str(code / "__init__.py"))
    return code


def test_unchanged_it_is_found_and_not_built(
    engine: EngineClient, built: BuiltMirrorImage, copy: Path, ca_bundle: Path
) -> None:
    first = build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "left.pyc").write_bytes(b"of another run")
    begun = time.monotonic()
    again = build_mirror(engine, progress=SILENT)
    assert again == replace(first, built=False)
    assert time.monotonic() - begun < 3


def test_a_change_of_the_code_renews_the_last_layers_only(
    private: DockerEngine,
    engine: EngineClient,
    built: BuiltMirrorImage,
    copy: Path,
    ca_bundle: Path,
) -> None:
    (copy / "added.py").write_text('"""New."""\n')
    begun = time.monotonic()
    changed = build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    assert changed.built
    assert time.monotonic() - begun < 60
    assert changed.reference != built.image.reference
    one, other = layers(private, built.image.id), layers(private, changed.id)
    same = [a == b for a, b in zip(one, other, strict=True)]
    assert all(same[:-2])


@pytest.fixture
def hollow(private: DockerEngine, tmp_path: Path) -> str:
    """An image with nothing in it."""
    tar = tmp_path / "hollow.tar"
    tar.write_bytes(pack_context({"nothing": b""}).read())
    private.docker("import", str(tar), "hollow:1")
    return "hollow:1"


def test_a_build_that_fails_leaves_neither_name_nor_container(
    private: DockerEngine,
    engine: EngineClient,
    hollow: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = named(private)
    with pytest.raises(EngineError, match="the build failed at: RUN") as failed:
        build_mirror(engine, base=hollow, progress=SILENT)
    assert "python3" in failed.value.why
    log = Path(failed.value.next_step.partition(": ")[2])
    assert "Step 1/" in log.read_text()
    assert named(private) == before
    assert not containers(private)


def test_an_image_that_does_not_work_gets_no_name(
    private: DockerEngine,
    engine: EngineClient,
    built: BuiltMirrorImage,
    copy: Path,
    ca_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (copy / "other.py").write_text('"""Another image than those before."""\n')
    broken = replace(load_mirror_recipe("mirror"), checks=(("false",),))
    monkeypatch.setattr(build_mirror_module, "load_mirror_recipe", lambda _: broken)
    before = named(private)
    with pytest.raises(EngineError, match="false does not run in it"):
        build_mirror(engine, ca=read_ca_bundle(ca_bundle), progress=SILENT)
    assert named(private) == before
    assert not containers(private)


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


def test_ctrl_c_ends_the_build_in_the_engine_too(private: DockerEngine) -> None:
    child = subprocess.Popen(
        (sys.executable, "-c", BUILD_SLOWLY, private.host, SLOW),
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("the build's container", lambda: bool(containers(private)), timeout=120)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) != 0
        wait_for("the container's end", lambda: not containers(private), timeout=60)
    finally:
        child.kill()
        child.wait(10)


def test_a_build_ends_at_its_deadline(private: DockerEngine, tmp_path: Path) -> None:
    begun = time.monotonic()
    with (tmp_path / "log").open("w") as log, pytest.raises(EngineError, match="in time"):
        connect_engine(private.host, seconds=3).build(
            pack_context({"Dockerfile": SLOW.encode()}), log=log, progress=SILENT, labels={}
        )
    assert time.monotonic() - begun < 10
    wait_for("the container's end", lambda: not containers(private), timeout=60)


def test_no_base_image(engine: EngineClient) -> None:
    with pytest.raises(EngineError, match="no base image") as missing:
        build_mirror(engine, base="registry.invalid/base:1", progress=SILENT)
    assert missing.value.why
    assert "--base" in missing.value.next_step


def test_the_docker_context_is_followed(
    private: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    words = ("context", "create", "private", "--docker", f"host={private.host}")
    subprocess.run(("docker", *words), env=environment, check=True, capture_output=True)
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
