"""Whose pypi-mirror-env is: two mirrors side by side, somebody's own, and those of mirror 0.1.0."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

from deploy.changes.attachment import plan_attachments
from deploy.changes.model import ObjectSpec
from deploy.cluster.client import ApiError
from deploy.evidence.mirror import read_mirror
from deploy.fix_registry import build_engine
from deploy.lifecycle import publish, record
from deploy.lifecycle.down import take_down
from deploy.manifests.record import MirrorRecord
from mirror.core.errors import ClusterError, RefusedError
from mirror.core.progress import SILENT
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule, on

A, B = "mirror-a", "mirror-b"
ADDRESS = {A: "10.0.0.1", B: "10.0.0.2"}
ENV = "pypi-mirror-env"
KEY = "publications.json"


def seed_namespace(api: MemoryApi, name: str) -> None:
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    for name in ("kube-system", "shop", "other", A, B):
        seed_namespace(api, name)
    for name, address in ADDRESS.items():
        meta = {"name": "pypi-mirror", "namespace": name}
        meta |= {"labels": {"app.kubernetes.io/name": "pypi-mirror"}}  # type: ignore[dict-item]
        spec = {"clusterIP": address, "ports": [{"port": 3141}]}
        api.seed({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        record.write(DirectCluster(api), name, MirrorRecord(cluster_ip=address))
    return api


def env_map(api: MemoryApi, namespace: str = "shop") -> Any:
    return api.read("ConfigMap", ENV, namespace)


def seed_env_map(api: MemoryApi, address: str, **metadata: Any) -> None:
    url = f"http://{address}:3141/workloads/stable/+simple/"
    meta = {"name": ENV, "namespace": "shop", **metadata}
    data = {"UV_DEFAULT_INDEX": url}
    api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


OURS = {"app.kubernetes.io/managed-by": "pypi-mirror", "app.kubernetes.io/name": "pypi-mirror"}


def test_a_publication_names_its_mirror(api: MemoryApi) -> None:
    publish.publish_environment(DirectCluster(api), A, ["shop"])
    uid = api.read("Namespace", A)["metadata"]["uid"]
    metadata = env_map(api)["metadata"]
    assert metadata["annotations"]["pypi-mirror/owner"] == f"{A}/{uid}"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "pypi-mirror"
    (published,) = read_mirror(DirectCluster(api), A).published
    assert published.state == "right"


def test_a_second_mirror_takes_nothing_over(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, A, ["shop"])
    publish.publish_environment(cluster, B, ["other"])
    before = env_map(api)
    with pytest.raises(RefusedError, match="another mirror's") as error:
        publish.publish_environment(cluster, B, ["shop"])
    assert A in error.value.why
    endpoint_b = record.read(cluster, B).endpoint
    assert endpoint_b is not None
    publish.refresh_environment(cluster, B, endpoint_b)
    assert publish.withdraw_environment(cluster, B) == ("other",)
    assert env_map(api) == before
    assert publish.withdraw_environment(cluster, A) == ("shop",)
    assert not [name for name in api.dump() if ENV in name or "-published-" in name]


def test_a_mirror_that_is_gone_holds_nothing(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, A, ["shop"])
    api.remove("Namespace", A)
    publish.publish_environment(cluster, B, ["shop"])
    assert ADDRESS[B] in env_map(api)["data"]["UV_DEFAULT_INDEX"]


@pytest.mark.parametrize("labels", [{}, OURS], ids=["no label", "made with --format configmap"])
def test_an_editor_of_the_mirrors_namespace_cannot_have_somebodys_own_one_changed(
    api: MemoryApi, labels: dict[str, str]
) -> None:
    """They add a namespace to the record, as mirror 0.1.0 kept it in their namespace."""
    cluster = DirectCluster(api)
    seed_env_map(api, ADDRESS[A], labels=labels)
    before = env_map(api)
    old = MirrorRecord(cluster_ip=ADDRESS[A], published=("shop", "gone"))
    record.write(cluster, A, old)
    assert old.endpoint is not None
    publish.refresh_environment(cluster, A, old.endpoint)
    assert publish.withdraw_environment(cluster, A) == ()
    assert env_map(api) == before
    publish.adopt_publications(cluster, A)
    record.write(cluster, A, old)
    publish.refresh_environment(cluster, A, old.endpoint)
    assert publish.withdraw_environment(cluster, A) == ()
    assert env_map(api) == before


def test_a_writer_in_kube_system_cannot_have_somebodys_own_one_changed(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    seed_env_map(api, "192.0.2.1")
    before = env_map(api)
    publish.publish_environment(cluster, A, ["other"])
    name = f"pypi-mirror-published-{A}"
    text = json.dumps({"namespaces": ["shop"]})
    api.edit("ConfigMap", name, "kube-system", lambda obj: obj["data"].update({KEY: text}))
    endpoint = record.read(cluster, A).endpoint
    assert endpoint is not None
    publish.refresh_environment(cluster, A, endpoint)
    with pytest.raises(RefusedError, match="not a mirror's"):
        publish.publish_environment(cluster, A, ["shop"])
    assert publish.withdraw_environment(cluster, A) == ()
    assert env_map(api) == before


def publish_as_0_1(cluster: DirectCluster, api: MemoryApi, namespace: str) -> None:
    publish.publish_environment(cluster, namespace, ["shop"])

    def drop_owner(obj: Any) -> None:
        del obj["metadata"]["annotations"]

    api.edit("ConfigMap", ENV, "shop", drop_owner)
    api.remove("ConfigMap", f"pypi-mirror-published-{namespace}", "kube-system")
    old = MirrorRecord(cluster_ip=ADDRESS[namespace], published=("shop",))
    record.write(cluster, namespace, old)


def test_what_0_1_0_published_is_taken_over(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish_as_0_1(cluster, api, A)
    (published,) = read_mirror(cluster, A).published
    assert (published.namespace, published.state) == ("shop", "right")
    assert publish.adopt_publications(cluster, A)
    stored = api.read("ConfigMap", f"pypi-mirror-published-{A}", "kube-system")
    assert json.loads(stored["data"]["publications.json"])["namespaces"] == ["shop"]
    assert record.read(cluster, A).published == ()
    moved = MirrorRecord(cluster_ip="10.0.0.9")
    record.write(cluster, A, moved)
    assert moved.endpoint is not None
    publish.refresh_environment(cluster, A, moved.endpoint)
    assert "10.0.0.9" in env_map(api)["data"]["UV_DEFAULT_INDEX"]
    assert A in env_map(api)["metadata"]["annotations"]["pypi-mirror/owner"]


def test_what_another_0_1_0_published_stays_its_own(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish_as_0_1(cluster, api, A)
    with pytest.raises(RefusedError, match="another mirror's") as error:
        publish.publish_environment(cluster, B, ["shop"])
    assert A in error.value.why


def test_a_record_that_cannot_be_read_stops_only_what_needs_it(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, A, ["shop"])
    name = f"pypi-mirror-published-{A}"
    api.edit("ConfigMap", name, "kube-system", lambda obj: obj.update(data={"x": "y"}))
    assert read_mirror(cluster, A).published == ()
    with pytest.raises(RefusedError, match="cannot read where the mirror was published"):
        publish.publish_environment(cluster, A, ["other"])
    assert take_down(cluster, A, purge=True, progress=SILENT).purged
    assert api.has("ConfigMap", ENV, "shop")


def test_a_namespace_that_is_being_deleted(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, A, ["shop"])

    def end(obj: Any) -> None:
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    namespace = api.read("Namespace", "shop")
    end(namespace)
    namespace["metadata"]["finalizers"] = ["kubernetes"]
    api.remove("Namespace", "shop")
    if api.has("Namespace", "shop"):
        api.remove("Namespace", "shop")
    api.seed(namespace)
    with pytest.raises(RefusedError, match="is being deleted"):
        publish.publish_environment(cluster, A, ["shop"])
    endpoint = record.read(cluster, A).endpoint
    assert endpoint is not None
    writes = len(api.list_writes())
    publish.refresh_environment(cluster, A, endpoint)
    assert len(api.list_writes()) == writes


def test_who_may_not_record_publishes_nothing(api: MemoryApi) -> None:
    rules = [
        Rule("get", "namespaces"),
        Rule("get create patch", "configmaps", namespaces=("shop",)),
    ]
    rules += [Rule("get", "configmaps", namespaces=(A,))]
    cluster = DirectCluster(api, api.add_user("limited", rules))
    with pytest.raises(ClusterError, match="cannot record") as error:
        publish.publish_environment(cluster, A, ["shop"])
    assert "get, create and update of configmaps in kube-system" in error.value.next_step
    assert not api.has("ConfigMap", ENV, "shop")


def test_a_purge_ignores_workloads_of_another_mirror(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, B, ["shop"])
    container = {"name": "main", "image": "web"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    meta = {"name": "web", "namespace": "shop"}
    api.seed({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    target = ObjectSpec(kind="Deployment", name="web", namespace="shop")
    engine = build_engine(cluster)
    with engine.hold_lease():
        for update in engine.plan(plan_attachments([target], index=True, ndots=False)):
            engine.apply(update)
    with pytest.raises(RefusedError, match="still applied"):
        take_down(cluster, B, purge=True, progress=SILENT)
    assert take_down(cluster, A, purge=True, progress=SILENT).purged


def test_who_may_not_write_in_kube_system_withdraws_the_rest(api: MemoryApi) -> None:
    publish.publish_environment(DirectCluster(api), A, ["shop"])
    user = api.add_user("limited", [Rule("*", "*")])
    user.withheld.append(Rule("delete", "configmaps", namespaces=("kube-system",)))
    assert publish.withdraw_environment(DirectCluster(api, user), A) == ("shop",)
    assert not api.has("ConfigMap", ENV, "shop")


@pytest.mark.parametrize(("status", "raised"), [(403, False), (500, True)])
def test_other_errors_of_the_record_are_not_hidden(
    api: MemoryApi, status: int, raised: bool
) -> None:
    publish.publish_environment(DirectCluster(api), A, ["shop"])
    api.failures.refuse(on("DELETE", "*/kube-system/configmaps/*"), status)
    with pytest.raises(ApiError) if raised else nullcontext():
        publish.withdraw_environment(DirectCluster(api), A)


def test_a_namespace_that_refuses_does_not_stop_the_others(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    publish.publish_environment(cluster, A, ["other", "shop"])
    moved = MirrorRecord(cluster_ip="10.0.0.9")
    record.write(cluster, A, moved)
    endpoint = moved.endpoint
    assert endpoint is not None
    for method, call in (
        ("PATCH", lambda: publish.refresh_environment(cluster, A, endpoint)),
        ("DELETE", lambda: publish.withdraw_environment(cluster, A)),
    ):
        api.failures.refuse(on(method, "*/other/configmaps/*"), 500)
        call()
    assert not api.has("ConfigMap", ENV, "shop")
    assert ADDRESS[A] in env_map(api, "other")["data"]["UV_DEFAULT_INDEX"]
