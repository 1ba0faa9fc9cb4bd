"""Warm Jobs: one per request, replaced when they have ended, followed to their report."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from deploy.lifecycle.warm import find_newest_job, follow_job, list_machines, start_job
from mirror.core.codec import dump
from mirror.core.errors import MirrorError, RefusedError, UnfitError, WaitTimeout
from mirror.warm.request import RequestedRelease, WarmProgress, WarmReport, WarmRequest
from mirror.wheels import TargetEnvironment
from tests.unit.deploy.lifecycle.fakes import FakeLifecycleCluster, make_object, make_ready_node

NAMESPACE = "pypi-mirror"
TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",), musl=False)
REQUEST = WarmRequest(releases=(RequestedRelease(name="iniconfig"),), target=TARGET)
JOB = f"pypi-mirror-warm-{REQUEST.digest}"
REPORT = WarmReport(projects=1, files=1, size=1, misses=(), seconds=0.1)
PROGRESS = WarmProgress(step="files", done=0, total=1, text="iniconfig")
CREATED = "2026-01-01T00:00:00Z"


@pytest.fixture
def cluster() -> FakeLifecycleCluster:
    record = json.dumps({"cluster_ip": "10.152.183.7"})
    template = {"spec": {"containers": [{"name": "devpi", "image": "mirror:1"}]}}
    return FakeLifecycleCluster(
        make_object("ConfigMap", "pypi-mirror-record", NAMESPACE, data={"record.json": record}),
        make_object("StatefulSet", NAMESPACE, NAMESPACE, spec={"template": template}),
        make_ready_node("ra"),
    )


def start(cluster: FakeLifecycleCluster, request: WarmRequest = REQUEST) -> str:
    return start_job(cluster.as_client(), NAMESPACE, request, concurrency=4)


def get_job(cluster: FakeLifecycleCluster) -> dict[str, Any]:
    job = cluster.objects["Job", NAMESPACE, JOB]
    job["metadata"].setdefault("creationTimestamp", CREATED)
    return job


def add_pod(cluster: FakeLifecycleCluster, log: str) -> None:
    pod = make_object("Pod", "warm-1", NAMESPACE, spec={}, status={})
    pod["metadata"] |= {"labels": {"job-name": JOB}, "creationTimestamp": CREATED}
    cluster.objects["Pod", NAMESPACE, "warm-1"] = pod
    cluster.logs["warm-1"] = log


def test_starts_a_job_that_owns_its_request(cluster: FakeLifecycleCluster) -> None:
    assert start(cluster) == JOB
    container = get_job(cluster)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mirror:1"
    assert "http://10.152.183.7:3141/workloads/stable/+simple/" in container["command"]
    config_map = cluster.objects["ConfigMap", NAMESPACE, JOB]
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_keeps_a_running_job_and_replaces_an_ended_one(cluster: FakeLifecycleCluster) -> None:
    start(cluster)
    start(cluster)
    assert cluster.writes.count(f"create Job/{JOB}") == 1
    get_job(cluster)["status"] = {"completionTime": CREATED}
    start(cluster)
    assert cluster.writes.count(f"create Job/{JOB}") == 2


def test_finds_the_newest_job(cluster: FakeLifecycleCluster) -> None:
    assert find_newest_job(cluster.as_client(), NAMESPACE) is None
    start(cluster)
    get_job(cluster)
    assert find_newest_job(cluster.as_client(), NAMESPACE) == JOB


def test_needs_a_mirror() -> None:
    with pytest.raises(UnfitError, match="there is no mirror in namespace pypi-mirror"):
        start(FakeLifecycleCluster())


def test_refuses_a_request_that_no_config_map_can_hold(cluster: FakeLifecycleCluster) -> None:
    random = Random(1)
    releases = tuple(
        RequestedRelease(name=f"p{number}", hashes=(random.randbytes(32).hex(),))
        for number in range(30_000)
    )
    with pytest.raises(RefusedError, match="too many releases for one warm run: 30000"):
        start(cluster, WarmRequest(releases=releases, target=TARGET))


def test_follows_a_job_to_its_report(cluster: FakeLifecycleCluster) -> None:
    start(cluster)
    add_pod(cluster, json.dumps(dump(PROGRESS)))
    run = follow_job(cluster.as_client(), NAMESPACE, JOB)
    assert next(run) == PROGRESS
    cluster.logs["warm-1"] = json.dumps({"report": dump(REPORT)})
    assert list(run) == [REPORT]


def test_reports_a_job_that_failed(cluster: FakeLifecycleCluster) -> None:
    start(cluster)
    get_job(cluster)["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    add_pod(cluster, "error: the mirror does not answer")
    with pytest.raises(MirrorError, match="failed") as error:
        next(follow_job(cluster.as_client(), NAMESPACE, JOB))
    assert error.value.why == "error: the mirror does not answer"


def test_reports_a_job_that_is_gone_and_one_that_takes_too_long(
    cluster: FakeLifecycleCluster,
) -> None:
    with pytest.raises(MirrorError, match="is gone"):
        next(follow_job(cluster.as_client(), NAMESPACE, JOB))
    start(cluster)
    with pytest.raises(WaitTimeout, match="still running") as error:
        next(follow_job(cluster.as_client(), NAMESPACE, JOB))
    assert error.value.next_step == "mirror warm --follow"


def test_lists_the_architectures_of_the_nodes(cluster: FakeLifecycleCluster) -> None:
    assert list_machines(cluster.as_client()) == ("x86_64",)
    arm = make_ready_node("seth")
    arm["status"]["nodeInfo"]["architecture"] = "arm64"
    cluster.objects["Node", None, "seth"] = arm
    assert list_machines(cluster.as_client()) == ("aarch64", "x86_64")
