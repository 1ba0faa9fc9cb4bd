"""A private Docker engine with the stand-in base image, and the mirror image built there once."""

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
from images.builder import BuiltImage
from images.engine import EngineClient
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
    ca_line: str  # a line of a certificate that the build was given and the image must not hold


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The engine as the docker command sees it."""
    with ExitStack() as stack:
        try:
            own = stack.enter_context(docker_engine(tmp_path_factory.mktemp("engine")))
            own.load(ensure_base_image())
        except CANNOT_START as error:
            _give_up(error)
        yield own


@pytest.fixture
def engine(private: DockerEngine) -> EngineClient:
    """The engine through our own door, with a deadline of this test's."""
    return connect_engine(private.host)


@pytest.fixture(scope="session")
def ca_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine trusts and one certificate more, last."""
    folder = tmp_path_factory.mktemp("ca")
    own = folder / "own.pem"
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    names = ("-nodes", "-subj", "/CN=planted", "-keyout", folder / "key", "-out", own)
    subprocess.run((*words, *names), check=True, capture_output=True, timeout=60)
    bundle = folder / "bundle.pem"
    bundle.write_text(SYSTEM_CA.read_text() + own.read_text())
    return bundle


@pytest.fixture(scope="session")
def built(private: DockerEngine, ca_bundle: Path) -> BuiltMirrorImage:
    begun = time.monotonic()
    image = build_mirror(
        connect_engine(private.host), ca=read_ca_bundle(ca_bundle), progress=SILENT
    )
    planted = ca_bundle.read_text().strip().splitlines()[-3]
    return BuiltMirrorImage(image=image, seconds=time.monotonic() - begun, ca_line=planted)


def _give_up(error: Exception) -> None:
    text = f"the Docker engine did not start: {error}"
    if os.environ.get("CI") == "true" or os.environ.get("MIRROR_REQUIRE_CLUSTER") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session")
def shop(
    private: DockerEngine, program: RunProgram, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildEnvironment]:
    """One engine and one mirror for all applications."""
    with build_environment(
        tmp_path_factory.mktemp("mirror"), program, private, SYSTEM_CA
    ) as open_shop:
        yield open_shop


@pytest.fixture(scope="session")
def locked(shop: BuildEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small web application with a lock; copied by who changes it."""
    folder = make_web_project(tmp_path_factory.mktemp("hello"))
    shop.lock(folder)
    return folder


@pytest.fixture
def project(locked: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    folder = tmp_path / "project"
    folder.mkdir()
    return copy_project(locked, folder)
