"""The cluster of this folder's tests: a lab as in the field, or the one that --kubeconfig names.

It ends with the last test here: while others run, a lab costs a tenth of a core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import kubernetes
import pytest

from tests.cluster.lab import Lab, LabError, running_lab
from tests.cluster.options import LabOptions
from tests.cluster.process import CommandError
from tests.cluster.waiting import ConditionTimeout, WaitAborted
from tests.cluster.workloads import ensure_workload_archive
from tests.images.mirror_archive import ensure_mirror_archive

START_ERRORS = (LabError, CommandError, ConditionTimeout, WaitAborted, LookupError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterUnderTest:
    """A cluster for tests. lab is None where it is somebody else's."""

    kubeconfig: Path
    nodes: tuple[str, ...]
    lab: Lab | None


@pytest.fixture(scope="package")
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterUnderTest]:
    """With --kubeconfig that cluster; otherwise a lab with every trouble of the field.

    Its nodes have the mirror's image, and a workload's.
    """
    given = request.config.getoption("--kubeconfig", default=None)
    if given:
        path = Path(given).resolve()
        yield ClusterUnderTest(kubeconfig=path, nodes=_nodes(path), lab=None)
        return
    images = (str(ensure_mirror_archive()), str(ensure_workload_archive()))
    options = replace(LabOptions.with_all_faults(f"pytest-{os.getpid()}"), archives=images)
    if "MIRROR_KILLS" in os.environ:  # kill after kill, kubelets would wait for minutes
        options = replace(options, restart_period="1s")
    with ExitStack() as stack:
        try:
            up = stack.enter_context(running_lab(options))
        except START_ERRORS as error:
            skip_or_fail(error)
        yield ClusterUnderTest(kubeconfig=up.kubeconfig, nodes=up.nodes, lab=up)


@pytest.fixture(scope="package")
def field_lab(cluster: ClusterUnderTest) -> Lab:
    """That lab, for tests that need more than a kubeconfig."""
    if cluster.lab is None:
        pytest.skip("needs the lab itself, not another cluster")
    return cluster.lab


def skip_or_fail(error: Exception) -> NoReturn:
    """Skip the test for want of a cluster; fail it where one is required."""
    text = f"the test cluster did not start: {error}"
    if os.environ.get("CI") == "true" or os.environ.get("MIRROR_REQUIRE_CLUSTER") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _nodes(kubeconfig: Path) -> tuple[str, ...]:
    client = kubernetes.config.new_client_from_config(config_file=str(kubeconfig))
    listed = kubernetes.client.CoreV1Api(client).list_node(_request_timeout=30)
    return tuple(sorted(node.metadata.name for node in listed.items))
