"""The fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.apiserver import ApiServer, run_api_server
from tests.cluster.fixtures import START_ERRORS, cluster, faulty_lab, skip_or_fail
from tests.cluster.lab import Lab
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.workloads import LOCK_CONFIG_MAP
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

__all__ = ["cluster", "faulty_lab"]


@pytest.fixture(scope="module")
def api_server() -> Iterator[ApiServer]:
    """Provide an API server without nodes."""
    try:
        with run_api_server() as server:
            yield server
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="package")
def mirror_lab(
    faulty_lab: Lab, program: RunProgram, ca_bundle: Path, chronicle_lock: Path
) -> MirrorLab:
    """Provide the lab with the mirror's image and a namespace for workloads, without a mirror."""
    faulty_lab.kubectl("create", "namespace", "chronicle")
    script = Path(__file__).with_name("workload_install.py")
    faulty_lab.kubectl(
        *("create", "configmap", LOCK_CONFIG_MAP, "-n", "chronicle"),
        *(f"--from-file={chronicle_lock}", f"--from-file={script}"),
    )
    image = archive_reference(ensure_mirror_archive())
    mirror_lab = MirrorLab(lab=faulty_lab, program=program, image=image, ca_bundle=ca_bundle)
    mirror_lab.wait_until_image_reported()
    return mirror_lab


@pytest.fixture
def namespace(mirror_lab: MirrorLab, request: pytest.FixtureRequest) -> Iterator[str]:
    """Provide the name of a namespace for a mirror of this test, and delete the namespace."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    yield name
    delete = ("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    mirror_lab.lab.kubectl(*delete, timeout=30)
