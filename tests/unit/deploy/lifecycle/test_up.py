"""`mirror up` on a cluster in memory: what it writes, and in which order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.evidence.agent_image import AgentImage, read_agent_image
from deploy.lifecycle import connect, rollout, up
from deploy.lifecycle import image as image_module
from deploy.lifecycle.down import take_down
from deploy.lifecycle.image import EnsuredImage, ImageRequest
from deploy.lifecycle.node_probe import NodeProbe
from deploy.lifecycle.publish import publish_environment
from deploy.lifecycle.up import UpRequest, UpResult, bring_up, plan_up
from mirror.core.errors import InputError, RefusedError
from mirror.core.progress import SILENT
from tests.unit.deploy.lifecycle.fakes import (
    FakeLifecycleCluster,
    make_object,
    make_ready_node,
    make_storage_class,
)

NAMESPACE = "pypi-mirror"
PROBES = (NodeProbe(node="ra", ok=True, image_id="sha256:aa"),)


class FakeIndexClient:
    def login(self, user: str, password: str) -> None:
        assert (user, password) == ("root", "secret")

    def ensure_indexes(self, upstream: str | None) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeLifecycleCluster:
    @contextmanager
    def open_client(*_: Any) -> Iterator[FakeIndexClient]:
        yield FakeIndexClient()

    pod = make_object("Pod", "pypi-mirror-0", NAMESPACE, spec={"nodeName": "ra"})
    ensured = EnsuredImage(reference="mirror:1", is_chosen=True)
    monkeypatch.setattr(image_module, "ensure_image", lambda *_, **__: ensured)
    monkeypatch.setattr(image_module, "predict_reference", lambda *_: "mirror:1")
    monkeypatch.setattr(rollout, "wait_until_ready", lambda *_: pod)
    monkeypatch.setattr(connect, "open_client", open_client)
    monkeypatch.setattr(connect, "read_root_password", lambda *_: "secret")
    monkeypatch.setattr(up, "probe_nodes", lambda *_, **__: PROBES)
    system = make_object("Namespace", "kube-system")
    return FakeLifecycleCluster(make_ready_node("ra"), make_storage_class(), system)


def run_up(cluster: FakeLifecycleCluster, **options: Any) -> UpResult:
    new_address = options.pop("new_address", False)
    request = UpRequest(namespace=NAMESPACE, options=options, new_address=new_address)
    return bring_up(cluster.as_client(), request, ImageRequest(), SILENT)


def read_record(cluster: FakeLifecycleCluster) -> dict[str, Any]:
    config_map = cluster.get("ConfigMap", "pypi-mirror-record", NAMESPACE)
    assert config_map is not None
    record: dict[str, Any] = json.loads(config_map["data"]["record.json"])
    return record


def test_records_the_address_before_it_starts_the_mirror(cluster: FakeLifecycleCluster) -> None:
    result = run_up(cluster, port=3200)
    assert result.endpoint.url == "http://10.152.183.7:3200/workloads/stable/+simple/"
    assert (result.image, result.node, result.probes) == ("mirror:1", "ra", PROBES)
    written = cluster.writes
    assert written[0] == "apply Namespace/pypi-mirror"
    assert written.index("apply ConfigMap/pypi-mirror-record") < written.index(
        "create Secret/pypi-mirror"
    )
    assert written[-2:] == ["apply StatefulSet/pypi-mirror", "patch Namespace/kube-system"]
    record = read_record(cluster)
    assert (record["cluster_ip"], record["port"]) == ("10.152.183.7", 3200)
    assert record["settings"] == {"port": 3200}


def test_remembers_options_and_address(cluster: FakeLifecycleCluster) -> None:
    run_up(cluster, port=3200)
    result = run_up(cluster, size="30Gi")
    assert result.endpoint.port == 3200
    assert read_record(cluster)["settings"] == {"port": 3200, "size": "30Gi"}
    assert cluster.writes.count("create Secret/pypi-mirror") == 1


def test_brings_the_service_back_at_its_address(cluster: FakeLifecycleCluster) -> None:
    run_up(cluster)
    service = cluster.objects["Service", NAMESPACE, "pypi-mirror"]
    service["spec"]["clusterIP"] = "10.152.183.99"
    assert str(run_up(cluster).endpoint.address) == "10.152.183.7"
    assert "delete Service/pypi-mirror" in cluster.writes


def test_leaves_a_foreign_namespace_as_it_is(cluster: FakeLifecycleCluster) -> None:
    cluster.objects["Namespace", None, NAMESPACE] = make_object("Namespace", NAMESPACE)
    run_up(cluster)
    assert "apply Namespace/pypi-mirror" not in cluster.writes


def test_keeps_the_modules_of_a_running_image_of_version_0_1(
    cluster: FakeLifecycleCluster,
) -> None:
    def get_modules() -> list[str]:
        stateful_set = cluster.objects["StatefulSet", NAMESPACE, "pypi-mirror"]
        containers = stateful_set["spec"]["template"]["spec"]["containers"]
        return [container["command"][2] for container in containers[:2]]

    run_up(cluster)
    assert get_modules() == ["mirror.private_names", "mirror.cache"]
    stateful_set = cluster.objects["StatefulSet", NAMESPACE, "pypi-mirror"]
    for container in stateful_set["spec"]["template"]["spec"]["containers"]:
        container["command"][2] = container["command"][2].replace("mirror.cache", "mirror.public")
    run_up(cluster)
    assert get_modules() == ["mirror.private", "mirror.public"]


def test_plans_without_writing(cluster: FakeLifecycleCluster) -> None:
    request = UpRequest(namespace=NAMESPACE, options={})
    plan, objects = plan_up(cluster.as_client(), request, ImageRequest(), SILENT)
    assert {step.action for step in plan} == {"create"}
    assert len(plan) == len(objects) + 1, "and the Secret"
    assert cluster.writes == []
    run_up(cluster)
    plan, _ = plan_up(cluster.as_client(), request, ImageRequest(), SILENT)
    assert {(step.kind, step.action) for step in plan} == {(step.kind, "nothing") for step in plan}
    larger = UpRequest(namespace=NAMESPACE, options={"size": "30Gi"})
    plan, _ = plan_up(cluster.as_client(), larger, ImageRequest(), SILENT)
    changed = [step.kind for step in plan if step.action == "change"]
    assert changed == ["PersistentVolumeClaim"]


def test_publishes_to_existing_namespaces_only(cluster: FakeLifecycleCluster) -> None:
    run_up(cluster)
    cluster.objects["Namespace", None, "shop"] = make_object("Namespace", "shop")
    with pytest.raises(InputError, match="no namespace 'none'"):
        publish_environment(cluster.as_client(), NAMESPACE, ["shop", "none"])
    assert cluster.get("ConfigMap", "pypi-mirror-env", "shop") is None
    publish_environment(cluster.as_client(), NAMESPACE, ["shop"])
    recorded = cluster.get("ConfigMap", "pypi-mirror-published-pypi-mirror", "kube-system")
    assert recorded is not None, "where an editor of the mirror's namespace cannot write"
    assert json.loads(recorded["data"]["publications.json"])["namespaces"] == ["shop"]
    assert read_record(cluster)["published"] == []
    config_map = cluster.get("ConfigMap", "pypi-mirror-env", "shop")
    assert config_map is not None
    assert "10.152.183.7" in config_map["data"]["UV_DEFAULT_INDEX"]


def test_refuses_to_publish_over_a_foreign_config_map(cluster: FakeLifecycleCluster) -> None:
    run_up(cluster)
    cluster.objects["Namespace", None, "shop"] = make_object("Namespace", "shop")
    foreign = make_object("ConfigMap", "pypi-mirror-env", "shop")
    cluster.objects["ConfigMap", "shop", "pypi-mirror-env"] = foreign
    with pytest.raises(RefusedError, match="is not ours"):
        publish_environment(cluster.as_client(), NAMESPACE, ["shop"])


def test_down_keeps_packages_and_purge_removes_everything(
    cluster: FakeLifecycleCluster,
) -> None:
    run_up(cluster)
    cluster.objects["Namespace", None, "shop"] = make_object("Namespace", "shop")
    publish_environment(cluster.as_client(), NAMESPACE, ["shop"])
    result = take_down(cluster.as_client(), NAMESPACE, purge=False, progress=SILENT)
    assert result.removed == (
        "StatefulSet/pypi-mirror",
        "NetworkPolicy/pypi-mirror",
        "ConfigMap/pypi-mirror-front",
    )
    assert str(run_up(cluster).endpoint.address) == "10.152.183.7"
    result = take_down(cluster.as_client(), NAMESPACE, purge=True, progress=SILENT)
    assert result.withdrawn == ("shop",)
    assert "Namespace/pypi-mirror" in result.removed
    assert {kind for kind, *_ in cluster.objects} == {"Node", "StorageClass", "Namespace"}
    assert read_agent_image(cluster.as_client()) is None
    assert cluster.objects["Namespace", None, "kube-system"]["metadata"]["annotations"] == {}


def test_records_the_image_that_it_was_given_for_node_agents(
    cluster: FakeLifecycleCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the digests of the nodes. One that the mirror's own record names is not recorded."""
    result = run_up(cluster)
    assert result.agent_image == "mirror:1"
    recorded = AgentImage(
        reference="mirror:1", ids=("sha256:aa",), origin="recorded by mirror up in pypi-mirror"
    )
    assert read_agent_image(cluster.as_client()) == recorded
    previous = EnsuredImage(reference="evil:1", is_chosen=False)
    monkeypatch.setattr(image_module, "ensure_image", lambda *_, **__: previous)
    result = run_up(cluster)
    assert (result.image, result.agent_image) == ("evil:1", None)
    assert read_agent_image(cluster.as_client()) == recorded


def test_the_mirror_works_without_the_right_to_record_its_image(
    cluster: FakeLifecycleCluster,
) -> None:
    del cluster.objects["Namespace", None, "kube-system"]
    assert run_up(cluster).agent_image == "mirror:1", "--with-fixes can use it all the same"
    assert read_agent_image(cluster.as_client()) is None
