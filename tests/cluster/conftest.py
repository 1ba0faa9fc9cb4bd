"""The cluster fixtures for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.fixtures import cluster, faulty_lab
from tests.cluster.lab import Lab
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.workloads import LOCK_CONFIG_MAP
from tests.conftest import RunProgram
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive

__all__ = ["cluster", "faulty_lab", "mirrored"]


@pytest.fixture(scope="package")
def mirrored(
    faulty_lab: Lab, program: RunProgram, ca_bundle: Path, chronicle_lock: Path
) -> MirrorLab:
    """The lab with the mirror's image on its nodes, and a namespace of workloads; no mirror yet."""
    faulty_lab.kubectl("create", "namespace", "chronicle")
    script = Path(__file__).with_name("workload_install.py")
    faulty_lab.kubectl(
        *("create", "configmap", LOCK_CONFIG_MAP, "-n", "chronicle"),
        *(f"--from-file={chronicle_lock}", f"--from-file={script}"),
    )
    image = archive_reference(ensure_mirror_archive())
    made = MirrorLab(lab=faulty_lab, program=program, image=image, ca_bundle=ca_bundle)
    made.wait_until_image_reported()
    return made
