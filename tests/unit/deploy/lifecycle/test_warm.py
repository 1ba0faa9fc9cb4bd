"""Warm Jobs: one per request, replaced when they have ended, followed to their report."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from deploy.lifecycle.warm import find_newest_job, follow_job, list_machines, start_job
from mirror.core.codec import dump
from mirror.core.errors import MirrorError, RefusedError, UnfitError, WaitTimeout
from mirror.core.wait import Deadline
from mirror.warm.request import RequestedRelease, WarmProgress, WarmReport, WarmRequest
from mirror.wheels import TargetEnvironment
from tests.kubernetes_api import DirectCluster, MemoryApi
from tests.unit.deploy.lifecycle.fakes import make_api, make_object, make_ready_node

NAMESPACE = "pypi-mirror"
TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",), musl=False)
REQUEST = WarmRequest(releases=(RequestedRelease(name="iniconfig"),), target=TARGET)
JOB = f"pypi-mirror-warm-{REQUEST.digest}"
REPORT = WarmReport(projects=1, files=1, size=1, misses=(), seconds=0.1)
PROGRESS = WarmProgress(step="files", done=0, total=1, text="iniconfig")
CREATED = "2026-01-01T00:00:00Z"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


@pytest.fixture
def api() -> MemoryApi:
    record = json.dumps({"cluster_ip": "10.152.183.7"})
    labels = {"app": "mirror"}
    containers = [{"name": "devpi", "image": "mirror:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return make_api(
        make_object("Namespace", NAMESPACE),
        make_object("ConfigMap", "pypi-mirror-record", NAMESPACE, data={"record.json": record}),
        make_object("StatefulSet", NAMESPACE, NAMESPACE, spec={"template": template}),
        make_ready_node("ra"),
    )


def connect(api: MemoryApi) -> DirectCluster:
    return DirectCluster(api, deadline=Deadline.after(1))


def start(api: MemoryApi, request: WarmRequest = REQUEST) -> str:
    return start_job(connect(api), NAMESPACE, request, concurrency=4)


def set_job_status(api: MemoryApi, **status: Any) -> None:
    api.edit("Job", JOB, NAMESPACE, lambda job: job.update(status=status))


def add_pod(api: MemoryApi, log: str) -> None:
    pod = make_object("Pod", "warm-1", NAMESPACE, spec={"containers": [{"name": "probe"}]})
    pod["metadata"] |= {"labels": {"job-name": JOB}, "creationTimestamp": CREATED}
    api.seed(pod)
    api.logs[NAMESPACE, "warm-1", "probe"] = log


def test_starts_a_job_that_owns_its_request(api: MemoryApi) -> None:
    assert start(api) == JOB
    job = api.read("Job", JOB, NAMESPACE)
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "mirror:1"
    assert "http://10.152.183.7:3141/workloads/stable/+simple/" in container["command"]
    (owner,) = api.read("ConfigMap", JOB, NAMESPACE)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", JOB, job["metadata"]["uid"])


def test_keeps_a_running_job_and_replaces_an_ended_one(api: MemoryApi) -> None:
    start(api)
    start(api)
    assert api.list_writes().count(f"POST {JOBS}") == 1
    first = api.read("Job", JOB, NAMESPACE)["metadata"]["uid"]
    set_job_status(api, completionTime=CREATED)
    start(api)
    assert api.list_writes().count(f"POST {JOBS}") == 2
    second = api.read("Job", JOB, NAMESPACE)["metadata"]["uid"]
    assert first != second
    (owner,) = api.read("ConfigMap", JOB, NAMESPACE)["metadata"]["ownerReferences"]
    assert owner["uid"] == second, "otherwise its request would be collected"


def test_finds_the_newest_job(api: MemoryApi) -> None:
    assert find_newest_job(connect(api), NAMESPACE) is None
    start(api)
    assert find_newest_job(connect(api), NAMESPACE) == JOB


def test_needs_a_mirror() -> None:
    with pytest.raises(UnfitError, match="there is no mirror in namespace pypi-mirror"):
        start(make_api())


def test_refuses_a_request_that_no_config_map_can_hold(api: MemoryApi) -> None:
    random = Random(1)
    releases = tuple(
        RequestedRelease(name=f"p{number}", hashes=(random.randbytes(32).hex(),))
        for number in range(30_000)
    )
    with pytest.raises(RefusedError, match="too many releases for one warm run: 30000"):
        start(api, WarmRequest(releases=releases, target=TARGET))


def test_follows_a_job_to_its_report(api: MemoryApi) -> None:
    start(api)
    add_pod(api, json.dumps(dump(PROGRESS)))
    run = follow_job(connect(api), NAMESPACE, JOB)
    assert next(run) == PROGRESS
    api.logs[NAMESPACE, "warm-1", "probe"] = json.dumps({"report": dump(REPORT)})
    assert list(run) == [REPORT]


def test_reports_a_job_that_failed(api: MemoryApi) -> None:
    start(api)
    set_job_status(api, conditions=[{"type": "Failed", "status": "True"}])
    add_pod(api, "error: the mirror does not answer")
    with pytest.raises(MirrorError, match="failed") as error:
        next(follow_job(connect(api), NAMESPACE, JOB))
    assert error.value.why == "error: the mirror does not answer"


def test_reports_a_job_that_is_gone_and_one_that_takes_too_long(
    api: MemoryApi,
) -> None:
    with pytest.raises(MirrorError, match="is gone"):
        next(follow_job(connect(api), NAMESPACE, JOB))
    start(api)
    with pytest.raises(WaitTimeout, match="still running") as error:
        next(follow_job(connect(api), NAMESPACE, JOB))
    assert error.value.next_step == "mirror warm --follow"


def test_lists_the_architectures_of_the_nodes(api: MemoryApi) -> None:
    assert list_machines(connect(api)) == ("x86_64",)
    arm = make_ready_node("seth")
    arm["status"]["nodeInfo"]["architecture"] = "arm64"
    api.seed(arm)
    assert list_machines(connect(api)) == ("aarch64", "x86_64")
