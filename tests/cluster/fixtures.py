"""Fixtures for tests on a cluster: a lab with all network faults, or the cluster of --kubeconfig.

The lab stops after the last test of this folder because an idle lab uses a tenth of a core.
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
    """A cluster for tests. lab is None if it is the cluster of --kubeconfig."""

    kubeconfig: Path
    nodes: tuple[str, ...]
    lab: Lab | None


@pytest.fixture(scope="package")
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterUnderTest]:
    """Provide the cluster of --kubeconfig, or a lab with all network faults.

    The lab's nodes have the images of the mirror and of a workload.
    """
    kubeconfig = request.config.getoption("--kubeconfig", default=None)
    if kubeconfig:
        path = Path(kubeconfig).resolve()
        yield ClusterUnderTest(kubeconfig=path, nodes=_list_nodes(path), lab=None)
        return
    images = (str(ensure_mirror_archive()), str(ensure_workload_archive()))
    options = replace(LabOptions.with_all_faults(f"pytest-{os.getpid()}"), archives=images)
    if "MIRROR_KILLS" in os.environ:  # otherwise kubelets back off for minutes after repeated kills
        options = replace(options, restart_period="1s")
    with ExitStack() as stack:
        try:
            lab = stack.enter_context(running_lab(options))
        except START_ERRORS as error:
            skip_or_fail(error)
        yield ClusterUnderTest(kubeconfig=lab.kubeconfig, nodes=lab.nodes, lab=lab)


@pytest.fixture(scope="package")
def faulty_lab(cluster: ClusterUnderTest) -> Lab:
    """Provide the lab with all network faults, for tests that need more than a kubeconfig."""
    if cluster.lab is None:
        pytest.skip("needs the lab, not another cluster")
    return cluster.lab


def skip_or_fail(error: Exception) -> NoReturn:
    """Skip the test because there is no cluster, or fail it if a cluster is required."""
    text = f"the test cluster did not start: {error}"
    if os.environ.get("CI") == "true" or os.environ.get("MIRROR_REQUIRE_CLUSTER") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _list_nodes(kubeconfig: Path) -> tuple[str, ...]:
    client = kubernetes.config.new_client_from_config(config_file=str(kubeconfig))
    nodes = kubernetes.client.CoreV1Api(client).list_node(_request_timeout=30)
    return tuple(sorted(node.metadata.name for node in nodes.items))
