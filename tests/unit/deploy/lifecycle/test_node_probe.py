"""The digests that `mirror up` learns from its probe pods."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.pod_run import PodRun
from deploy.lifecycle import node_probe
from deploy.manifests.model import ClusterSettings
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi

GOOD, EVIL = "sha256:aa", "sha256:ee"


def test_a_pod_whose_image_somebody_replaced_tells_no_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An editor of the mirror's namespace may change the image of a pod that runs."""

    def run_pods(*_: Any) -> list[PodRun]:
        return [
            PodRun(name="a", node="ra", exit_code=0, output="", image="m:1", image_id=GOOD),
            PodRun(name="b", node="seth", exit_code=0, output="", image="evil:1", image_id=EVIL),
        ]

    monkeypatch.setattr(node_probe, "run_pods", run_pods)
    cluster = DirectCluster(MemoryApi(), deadline=Deadline.after(5))
    nodes = [{"metadata": {"name": name}} for name in ("ra", "seth")]
    probes = node_probe.probe_nodes(
        cluster, ClusterSettings(image="m:1"), nodes, "http://x/", "p", SILENT
    )
    assert {probe.node: probe.image_id for probe in probes} == {"ra": GOOD, "seth": ""}
