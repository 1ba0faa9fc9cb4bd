"""The state of the mirror as `mirror status` reports it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.cluster.client import Object
from deploy.lifecycle import connect
from deploy.lifecycle.status import read_status
from mirror.cache_status import CacheStatus
from mirror.core.errors import MirrorError
from mirror.version import VERSION
from tests.kubernetes_api import DirectCluster
from tests.unit.deploy.lifecycle.fakes import make_api, make_object, make_ready_node

NAMESPACE = "pypi-mirror"
FULL_CACHE = CacheStatus(
    pages=1,
    files=1,
    size=1,
    requests=1,
    asked=0,
    fetched=0,
    upstream="https://index.example",
    upstream_origin="",
    upstream_away="",
    upstream_since="",
    free=0,
    volume=10**9,
    refused=True,
    scrubbed="",
    repaired=0,
    lost=(),
)


class FakeStatusClient:
    def __init__(self, error: str) -> None:
        self.error = error

    def get_server_version(self) -> str:
        if self.error:
            raise MirrorError(self.error)
        return "6.20.0"

    def read_stats(self, probe_requests: float) -> CacheStatus:
        assert probe_requests >= 0
        return FULL_CACHE


def make_mirror_objects(ready: int = 1, image: str = "") -> list[Object]:
    record = {"cluster_ip": "10.152.183.7", "port": 3141, "image": "mirror:1", "settings": {}}
    image = image or f"pypi-mirror:{VERSION}-0123456789ab"
    template = {"spec": {"containers": [{"name": "devpi", "image": image}]}}
    return [
        make_object(
            "ConfigMap", "pypi-mirror-record", NAMESPACE, data={"record.json": json.dumps(record)}
        ),
        make_object("Service", NAMESPACE, NAMESPACE, spec={"clusterIP": "10.152.183.7"}),
        make_object(
            "StatefulSet",
            NAMESPACE,
            NAMESPACE,
            spec={"template": template},
            status={"readyReplicas": ready},
        ),
        make_object("Pod", "pypi-mirror-0", NAMESPACE, spec={"nodeName": "ra"}, status={}),
        make_object(
            "PersistentVolumeClaim",
            "pypi-mirror-data",
            NAMESPACE,
            spec={"resources": {"requests": {"storage": "20Gi"}}},
            status={"phase": "Bound"},
        ),
        make_ready_node("ra"),
    ]


def read_state(
    monkeypatch: pytest.MonkeyPatch, *objects: Object, error: str = ""
) -> tuple[str, tuple[str, ...], Any]:
    @contextmanager
    def open_client(*_: Any) -> Iterator[FakeStatusClient]:
        yield FakeStatusClient(error)

    monkeypatch.setattr(connect, "open_client", open_client)
    status = read_status(DirectCluster(make_api(*objects)), NAMESPACE)
    return status.state, status.trouble, status


def test_reports_a_running_mirror_and_its_full_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    state, trouble, status = read_state(monkeypatch, *make_mirror_objects())
    assert state == "running"
    assert (status.node, status.version, status.holder) == ("ra", "6.20.0", None)
    assert status.volume == "Bound, 20Gi, no class"
    (full,) = trouble
    assert full.startswith("the volume is full: claim pypi-mirror-data (20Gi) has 0 MB free")


def test_reports_a_mirror_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    state, trouble, _ = read_state(monkeypatch, *make_mirror_objects(), error="no answer")
    assert (state, trouble) == ("broken", ("no answer",))


def test_reports_why_a_mirror_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    state, trouble, _ = read_state(monkeypatch, *make_mirror_objects(ready=0))
    assert state == "starting"
    assert "pod pypi-mirror-0: Pending on ra" in trouble


def test_reports_another_address_than_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = [obj for obj in make_mirror_objects() if obj["kind"] != "Service"]
    state, trouble, _ = read_state(monkeypatch, *objects)
    assert state == "drifted"
    assert trouble == (
        "workloads use 10.152.183.7, the Service has no address (it is gone): run `mirror up`",
    )


def test_tells_a_stopped_mirror_from_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ("StatefulSet", "Pod")
    stopped = [obj for obj in make_mirror_objects() if obj["kind"] not in gone]
    assert read_state(monkeypatch, *stopped)[0] == "stopped"
    assert read_state(monkeypatch)[0] == "absent"


def test_reports_an_image_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = make_mirror_objects(image="localhost:32000/pypi-mirror:0.0.9-0123456789ab@sha256:1")
    _, trouble, _ = read_state(monkeypatch, *objects, error="x")
    expected = f"the image is of version 0.0.9, this command of {VERSION}: run `mirror up`"
    assert expected in trouble


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (None, "node ra, which runs the mirror, is gone from the cluster"),
        (make_ready_node("ra", ready=False), "node ra, which runs the mirror, is not Ready"),
    ],
)
def test_reports_trouble_with_the_node(
    monkeypatch: pytest.MonkeyPatch, node: Object | None, message: str
) -> None:
    objects = [obj for obj in make_mirror_objects() if obj["kind"] != "Node"]
    _, trouble, _ = read_state(monkeypatch, *objects, *([node] if node else []))
    assert message in trouble
