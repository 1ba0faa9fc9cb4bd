"""`mirror attach` and `detach`: what is written, after a kill, without a right, beside others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.changes import lease
from deploy.changes.model import ObjectSpec
from deploy.repair.attach import (
    AttachRequest,
    attach,
    detach,
    parse_workload,
    plan_attach,
    plan_detach,
)
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError
from tests.kubernetes_api import DirectCluster, KilledError, MemoryApi, Rule, User, on
from tests.kubernetes_api.failures import When

SYSTEM_MAPS = "/api/v1/namespaces/kube-system/configmaps"
WEB = "/apis/apps/v1/namespaces/shop/deployments/web"
DB = "/apis/apps/v1/namespaces/shop/statefulsets/db"
NIGHTLY = "/apis/batch/v1/namespaces/shop/cronjobs/nightly"
INDEX = {"configMapRef": {"name": "pypi-mirror-env"}}
KINDS = (("Deployment", "web"), ("StatefulSet", "db"), ("CronJob", "nightly"))


@pytest.fixture
def api() -> MemoryApi:
    """Provide an API with a mirror, and three workloads in namespace shop."""
    api = MemoryApi()
    for name in ("pypi-mirror", "shop"):
        api.seed({"kind": "Namespace", "metadata": {"name": name}})
    record = json.dumps({"cluster_ip": "10.152.183.7"})
    metadata = {"name": "pypi-mirror-record", "namespace": "pypi-mirror"}
    api.seed({"kind": "ConfigMap", "metadata": metadata, "data": {"record.json": record}})
    template: Any = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "main", "image": "shop:1"}]},
    }
    for kind, name in KINDS:
        spec: Any = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
        if kind == "CronJob":
            spec = {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}
        metadata = {"name": name, "namespace": "shop"}
        api.seed({"kind": kind, "metadata": metadata, "spec": spec})
    return api


def make_request(*names: str, **options: Any) -> AttachRequest:
    return AttachRequest(names=names, namespace="shop", **options)


def run_attach(
    api: MemoryApi, *names: str, user: User | None = None, **options: Any
) -> tuple[str, ...]:
    cluster, request = DirectCluster(api, user), make_request(*names, **options)
    return attach(cluster, request, plan_attach(cluster, request))


def run_detach(
    api: MemoryApi, *names: str, user: User | None = None, force: bool = False
) -> tuple[str, ...]:
    cluster = DirectCluster(api, user)
    return detach(cluster, plan_detach(cluster, make_request(*names)), force=force)


def read_specs(api: MemoryApi) -> list[Any]:
    return [api.read(kind, name, "shop")["spec"] for kind, name in KINDS]


def list_entries(api: MemoryApi) -> list[str]:
    names = [obj["metadata"]["name"] for obj in api.list_objects("ConfigMap", "kube-system")]
    return [name for name in names if "-ledger-" in name]


def list_ours(api: MemoryApi) -> list[str]:
    """Return what attach and detach have left: entries of the ledger, and the Lease."""
    return [*list_entries(api), *(obj["metadata"]["name"] for obj in api.list_objects("Lease"))]


def test_attaches_every_workload_of_a_namespace_and_detaches_it(api: MemoryApi) -> None:
    before = read_specs(api)
    assert set(run_attach(api, ndots=True)) == {
        "Deployment shop/web",
        "StatefulSet shop/db",
        "CronJob shop/nightly",
    }
    assert api.read("ConfigMap", "pypi-mirror-env", "shop")["data"]["UV_DEFAULT_INDEX"] == (
        "http://10.152.183.7:3141/workloads/stable/+simple/"
    )
    for spec in read_specs(api):
        pod = spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]
        assert pod["containers"][0]["envFrom"] == [INDEX]
        assert pod["dnsConfig"] == {"options": [{"name": "ndots", "value": "1"}]}
    assert len(run_detach(api)) == 3
    assert read_specs(api) == before
    assert list_ours(api) == []


def test_publishes_before_it_writes_and_stores_before_it_changes(api: MemoryApi) -> None:
    run_attach(api, "deployment/web")
    writes = api.list_writes()
    leases = [write for write in writes if "/leases" in write]
    others = [write for write in writes if "/leases" not in write]
    assert len(leases) == 2
    assert others[:4] == [
        f"POST {SYSTEM_MAPS}",  # where it is published
        "PATCH /api/v1/namespaces/shop/configmaps/pypi-mirror-env",
        f"POST {SYSTEM_MAPS}",  # the entry
        f"PUT {WEB}",
    ]
    assert others[4].startswith(f"PUT {SYSTEM_MAPS}/pypi-mirror-ledger-")
    assert len(others) == 5


def test_a_second_attach_changes_nothing(api: MemoryApi) -> None:
    run_attach(api)
    before = api.dump()
    assert run_attach(api) == ()
    assert api.dump() == before


def test_planning_writes_nothing(api: MemoryApi) -> None:
    before = api.dump()
    plan_attach(DirectCluster(api), make_request())
    assert api.dump() == before
    run_attach(api)
    attached = api.dump()
    api.requests.clear()
    assert len(plan_detach(DirectCluster(api), make_request()).updates) == 3
    assert api.list_writes() == []
    assert api.dump() == attached


def test_without_index_nothing_is_published(api: MemoryApi) -> None:
    run_attach(api, "sts/db", index=False, ndots=True)
    assert not api.has("ConfigMap", "pypi-mirror-env", "shop")
    pod = api.read("StatefulSet", "db", "shop")["spec"]["template"]["spec"]
    assert "envFrom" not in pod["containers"][0]
    assert pod["dnsConfig"] == {"options": [{"name": "ndots", "value": "1"}]}


@pytest.mark.parametrize(("index", "ndots"), [(True, False), (False, True), (True, True)])
def test_detach_restores_each_kind_of_attachment(api: MemoryApi, index: bool, ndots: bool) -> None:
    before = read_specs(api)
    run_attach(api, index=index, ndots=ndots)
    assert read_specs(api) != before
    assert len(run_detach(api)) == 3
    assert read_specs(api) == before
    assert list_entries(api) == []


def test_detaches_one_and_leaves_the_others(api: MemoryApi) -> None:
    run_attach(api)
    assert run_detach(api, "deploy/web") == ("Deployment shop/web",)
    assert [INDEX in _get_env_from(spec) for spec in read_specs(api)] == [False, True, True]
    assert run_detach(api, "deploy/web") == ()


def _get_env_from(spec: Any) -> list[Any]:
    pod = spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]
    env_from: list[Any] = pod["containers"][0].get("envFrom", [])
    return env_from


def test_refuses_a_workload_that_another_one_owns(api: MemoryApi) -> None:
    def own(obj: Any) -> None:
        owner = {"apiVersion": "x/v1", "kind": "Rollout", "name": "r", "uid": "u"}
        obj["metadata"]["ownerReferences"] = [{**owner, "controller": True}]

    api.edit("Deployment", "web", "shop", own)
    with pytest.raises(RefusedError, match="belongs to Rollout r"):
        run_attach(api)
    assert api.list_writes() == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("deployment/none",), "there is no Deployment shop/none"),
        (("pod/web",), "pod/web cannot be attached"),
        (("web",), "not a workload: 'web'"),
    ],
)
def test_refuses_what_it_cannot_attach(
    api: MemoryApi, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as error:
        run_attach(api, *names)
    assert error.value.what == message
    assert api.list_writes() == []


def test_does_not_overwrite_an_edit_between_reading_and_writing(api: MemoryApi) -> None:
    before = api.read("Deployment", "web", "shop")["spec"]

    def edit(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"

    api.failures.run(on("PUT", WEB), lambda _: api.edit("Deployment", "web", "shop", edit))
    run_attach(api, "deployment/web")
    spec = api.read("Deployment", "web", "shop")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (container["image"], container["envFrom"]) == ("shop:2", [INDEX])
    run_detach(api)
    before["template"]["spec"]["containers"][0]["image"] = "shop:2"
    assert api.read("Deployment", "web", "shop")["spec"] == before


def test_refuses_while_another_command_writes(api: MemoryApi) -> None:
    with (
        lease.hold(DirectCluster(api)),
        pytest.raises(RefusedError, match="another command is changing this cluster"),
    ):
        run_attach(api)
    assert [_get_env_from(spec) for spec in read_specs(api)] == [[], [], []]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("then", ["attach again", "detach"])
@pytest.mark.parametrize("during", ["attach", "detach"])
def test_continues_after_a_kill_at_every_write(
    api: MemoryApi, restart: Callable[[], None], during: str, then: str, when: When
) -> None:
    before = read_specs(api)
    kills = 0
    while True:
        if during == "detach":
            run_attach(api)
        api.failures.kill_at_write(kills + 1, when)
        try:
            run_attach(api) if during == "attach" else run_detach(api)
        except KilledError:
            kills += 1
        else:
            break
        finally:
            restart()
        if then == "attach again":
            run_attach(api)
            assert [_get_env_from(spec) for spec in read_specs(api)] == [[INDEX]] * 3, kills
        run_detach(api)
        assert read_specs(api) == before, kills
        assert list_entries(api) == [], kills  # with nothing to do, the Lease is not looked at
        if during == "attach":
            api.remove("ConfigMap", "pypi-mirror-env", "shop")
            api.remove("ConfigMap", "pypi-mirror-published-pypi-mirror", "kube-system")
    # the Lease twice; each entry, workload and entry again; the ConfigMap and its record
    assert kills == 2 + 3 * 3 + (2 if during == "attach" else 0)


WRITE = ("get", "create", "update", "delete")
RIGHTS = [
    ("get", "configmaps", "shop"),
    ("patch", "configmaps", "shop"),
    *(
        (verb, "configmaps", "kube-system")
        for verb in ["get", "list", "create", "update", "delete"]
    ),
    *((verb, "leases", "kube-system") for verb in ["get", "create", "update", "delete"]),
    ("get", "deployments", "shop"),
    ("update", "deployments", "shop"),
]
READ_RIGHTS = [("get", "namespaces", ""), ("get", "configmaps", "pypi-mirror")]


def add_limited_user(api: MemoryApi) -> User:
    rights = [*RIGHTS, *READ_RIGHTS]
    rules = [Rule(verb, what, namespaces=(space,) if space else ()) for verb, what, space in rights]
    return api.add_user("limited", rules)


def test_the_rights_are_enough(api: MemoryApi) -> None:
    user = add_limited_user(api)
    user.rules.append(Rule("create", "configmaps", namespaces=("shop",)))
    assert run_attach(api, "deployment/web", user=user) == ("Deployment shop/web",)
    assert run_detach(api, "deployment/web", user=user) == ("Deployment shop/web",)
    assert list_ours(api) == []


@pytest.mark.parametrize("missing", RIGHTS, ids=" ".join)
def test_names_a_missing_right_and_writes_nothing(
    api: MemoryApi, missing: tuple[str, str, str]
) -> None:
    user = add_limited_user(api)
    verb, resource, namespace = missing
    user.withheld.append(Rule(verb, resource, namespaces=(namespace,)))
    before = api.dump()
    with pytest.raises(ClusterError) as error:
        run_attach(api, "deployment/web", user=user)
    named = f"{verb} {resource} in namespace {namespace}"
    refused = f'cannot {verb} resource "{resource}" in API group'
    assert named in str(error.value) or refused in str(error.value)
    assert api.list_writes() == []
    assert api.dump() == before


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/shop",
        "/api/v1/namespaces/shop/configmaps/pypi-mirror-env",
        "/api/v1/namespaces/pypi-mirror/configmaps/pypi-mirror-record",
        f"{SYSTEM_MAPS}/pypi-mirror-published-pypi-mirror",
        f"{SYSTEM_MAPS}/pypi-mirror-ledger-*",
        WEB,
    ],
)
@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_read_is_not_taken_for_absent(
    api: MemoryApi, path: str, status: int
) -> None:
    run_attach(api, "deployment/web")
    before = api.dump()
    api.failures.refuse(on("GET", path), status, "Forbidden" if status == 403 else "", times=None)
    with pytest.raises(MirrorError):
        run_attach(api, "deployment/web", ndots=True)
    assert api.dump() == before


@pytest.mark.parametrize("status", [403, 422, 500])
@pytest.mark.parametrize("path", [WEB, DB, NIGHTLY])
def test_a_workload_that_cannot_be_written_can_be_tried_again(
    api: MemoryApi, path: str, status: int
) -> None:
    before = read_specs(api)
    api.failures.refuse(on("PUT", path), status, times=None)
    with pytest.raises(MirrorError, match=r"refused by the test"):
        run_attach(api)
    assert api.requests[-1].path.endswith("/leases/pypi-mirror-changes")
    api.failures.revive()
    run_attach(api)
    run_detach(api)
    assert read_specs(api) == before
    assert list_ours(api) == []


@pytest.mark.parametrize(
    "text",
    [
        *("deployment/web", "deploy/web", "Deployments/web", "deployment.apps/web"),
        *("deployments.apps/web", "deployments.v1.apps/web", " deployment/web "),
    ],
)
def test_takes_a_kind_as_kubectl_takes_or_prints_it(text: str) -> None:
    expected = ObjectSpec(kind="Deployment", name="web", namespace="shop")
    assert parse_workload(text, "shop") == expected


def test_takes_cron_jobs_with_their_group_and_refuses_kinds_of_others() -> None:
    expected = ObjectSpec(kind="CronJob", name="nightly", namespace="shop")
    assert parse_workload("cronjob.batch/nightly", "shop") == expected
    with pytest.raises(InputError, match="not a workload"):
        parse_workload("deployment.example.com/web", "shop")
