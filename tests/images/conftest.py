"""A private Docker engine with a base image, and the mirror's image, built there once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.build_mirror import build_mirror, read_ca_bundle
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.progress import SILENT
from tests.cluster.engine import DockerEngine, docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.process import CommandError
from tests.cluster.waiting import ConditionTimeout, WaitAborted
from tests.conftest import RunProgram
from tests.images.mirror_archive import SYSTEM_CA, connect_engine
from tests.images.projects import (
    BuildEnvironment,
    build_environment,
    copy_project,
    make_web_project,
)

CANNOT_START = (CommandError, ConditionTimeout, WaitAborted, LookupError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltMirrorImage:
    image: BuiltImage
    seconds: float
    ca_line: str  # of a certificate that the build was given and the image must not contain


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The engine, for the docker command."""
    with ExitStack() as stack:
        try:
            private_engine = stack.enter_context(docker_engine(tmp_path_factory.mktemp("engine")))
            private_engine.load(ensure_base_image())
        except CANNOT_START as error:
            _give_up(error)
        yield private_engine


@pytest.fixture
def engine(docker: DockerEngine) -> EngineClient:
    """The engine, for our own client, with a deadline for each test."""
    return connect_engine(docker.host)


@pytest.fixture(scope="session")
def ca_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates that this machine trusts, and another one at the end."""
    folder = tmp_path_factory.mktemp("ca")
    certificate = folder / "own.pem"
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    options = ("-nodes", "-subj", "/CN=planted", "-keyout", folder / "key", "-out", certificate)
    subprocess.run((*command, *options), check=True, capture_output=True, timeout=60)
    bundle = folder / "bundle.pem"
    bundle.write_text(SYSTEM_CA.read_text() + certificate.read_text())
    return bundle


@pytest.fixture(scope="session")
def mirror_image(docker: DockerEngine, ca_bundle: Path) -> BuiltMirrorImage:
    started = time.monotonic()
    image = build_mirror(connect_engine(docker.host), ca=read_ca_bundle(ca_bundle), progress=SILENT)
    planted = ca_bundle.read_text().strip().splitlines()[-3]
    return BuiltMirrorImage(image=image, seconds=time.monotonic() - started, ca_line=planted)


def _give_up(error: Exception) -> None:
    text = f"the Docker engine did not start: {error}"
    if os.environ.get("CI") == "true" or os.environ.get("MIRROR_REQUIRE_CLUSTER") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session")
def build_env(
    docker: DockerEngine, program: RunProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildEnvironment]:
    """The engine and a mirror, shared by all tests of applications."""
    with build_environment(tmp_path_factory.mktemp("mirror"), program, docker, SYSTEM_CA) as env:
        yield env


@pytest.fixture(scope="session")
def locked_project(build_env: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small web application with a lock. Tests that change it use ``project``."""
    folder = make_web_project(tmp_path_factory.mktemp("hello"))
    build_env.lock(folder)
    return folder


@pytest.fixture
def project(locked_project: Path, tmp_path: Path) -> Path:
    """A copy of the web application for one test."""
    folder = tmp_path / "project"
    folder.mkdir()
    return copy_project(locked_project, folder)
