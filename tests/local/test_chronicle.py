"""Chronicle's whole lock through `mirror up --local`, from the public index, as the README says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import workload_install
from tests.cluster.engine import DockerEngine, docker_engine
from tests.cluster.workloads import IMAGE, UVS, ensure_workload_archive
from tests.conftest import Run
from tests.local.place import Place

pytestmark = [pytest.mark.engine, pytest.mark.index]

PROGRAMS = (f"uv-{UVS[1]}", "pip")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DockerEngine]:
    with docker_engine(tmp_path) as own:
        own.load(ensure_workload_archive())
        yield own


def test_all_of_chronicles_requirements_install_with_uv_and_with_pip(
    tmp_path: Path, program: Run, ca_bundle: Path, chronicle_lock: Path, engine: DockerEngine
) -> None:
    """In a container on the machine's network: Debian 12 has no Python that Chronicle takes."""
    place = Place(tmp_path / "place", program)
    place.up("--ca-bundle", str(ca_bundle))
    try:
        lock = tmp_path / "lock"
        lock.mkdir()
        for path in (chronicle_lock, Path(workload_install.__file__)):
            shutil.copy(path, lock / path.name)
        env = json.loads(place.mirror("env", "--format", "json").stdout)
        words = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
        log = engine.docker(
            *("run", "--rm", "--network", "host", "--volume", f"{lock}:/lock:ro", *words),
            *(IMAGE, "python3", "/lock/workload_install.py", *PROGRAMS),
            timeout=840,
        )
        reports = [json.loads(line) for line in log.splitlines()]
        assert [report["program"] for report in reports] == list(PROGRAMS)
        for report in reports:
            print(f"{report['program']} {report['seconds']} s")
            assert report["code"] == 0, report["said"]
            assert len(report["names"]) >= 146
        told = json.loads(place.mirror("status", "-o", "json").stdout)
        assert told["cached_files"] >= 146
    finally:
        place.mirror("down", "--purge")
