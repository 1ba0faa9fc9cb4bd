"""`mirror up`, `down` and publishing: what is written, in which order, and after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.cluster.client import ApiError
from deploy.evidence.agent_image import AgentImage, read_agent_image
from deploy.lifecycle import connect, up
from deploy.lifecycle import image as image_module
from deploy.lifecycle.down import DownResult, take_down
from deploy.lifecycle.image import EnsuredImage, ImageRequest
from deploy.lifecycle.node_probe import NodeProbe
from deploy.lifecycle.publish import publish_environment
from deploy.lifecycle.up import UpRequest, UpResult, bring_up, plan_up
from mirror.core.errors import ClusterError, InputError, RefusedError
from mirror.core.progress import SILENT
from tests.kubernetes_api import DirectCluster, KilledError, MemoryApi, Rule, User, on
from tests.kubernetes_api.failures import When
from tests.unit.deploy.lifecycle.fakes import (
    make_api,
    make_object,
    make_ready_node,
    make_storage_class,
)

NAMESPACE = "pypi-mirror"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
STATEFUL_SET = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/pypi-mirror"
PROBES = (NodeProbe(node="ra", ok=True, image_id="sha256:aa"),)


class FakeIndexClient:
    """The mirror's index, which only the password of the Secret opens."""

    def __init__(self, password: str) -> None:
        self._password = password

    def login(self, user: str, password: str) -> None:
        assert (user, password) == ("root", self._password)

    def ensure_indexes(self, upstream: str | None) -> None:
        pass

    def list_private_projects(self) -> tuple[Any, ...]:
        return ()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> MemoryApi:
    api = make_api(make_ready_node("ra"), make_storage_class())

    @contextmanager
    def open_client(cluster: DirectCluster, *_: Any) -> Iterator[FakeIndexClient]:
        yield FakeIndexClient(connect.read_root_password(DirectCluster(api), NAMESPACE))

    ensured = EnsuredImage(reference="mirror:1", is_chosen=True)
    monkeypatch.setattr(image_module, "ensure_image", lambda *_, **__: ensured)
    monkeypatch.setattr(image_module, "predict_reference", lambda *_: "mirror:1")
    monkeypatch.setattr(connect, "open_client", open_client)
    monkeypatch.setattr(up, "probe_nodes", lambda *_, **__: PROBES)
    return api


def run_up(api: MemoryApi, user: User | None = None, **options: Any) -> UpResult:
    new_address = options.pop("new_address", False)
    request = UpRequest(namespace=NAMESPACE, options=options, new_address=new_address)
    return bring_up(DirectCluster(api, user), request, ImageRequest(), SILENT)


def run_down(api: MemoryApi, user: User | None = None, *, purge: bool) -> DownResult:
    return take_down(DirectCluster(api, user), NAMESPACE, purge=purge, progress=SILENT)


def publish(api: MemoryApi, *namespaces: str) -> None:
    publish_environment(DirectCluster(api), NAMESPACE, namespaces)


def read_record(api: MemoryApi) -> dict[str, Any]:
    config_map = api.read("ConfigMap", "pypi-mirror-record", NAMESPACE)
    record: dict[str, Any] = json.loads(config_map["data"]["record.json"])
    return record


def list_names(api: MemoryApi) -> set[str]:
    """Return Kind/name of everything but what a cluster has before the mirror."""
    own = {"Node", "StorageClass", "Namespace"}
    return {
        f"{obj['kind']}/{obj['metadata']['name']}"
        for obj in api.store.values()
        if obj["kind"] not in own or obj["metadata"]["name"] == NAMESPACE
    }


# -- up -------------------------------------------------------------------------------------------


def test_records_the_address_before_it_starts_the_mirror(api: MemoryApi) -> None:
    result = run_up(api, port=3200)
    address = api.read("Service", "pypi-mirror", NAMESPACE)["spec"]["clusterIP"]
    assert result.endpoint.url == f"http://{address}:3200/workloads/stable/+simple/"
    assert (result.image, result.node, result.probes) == ("mirror:1", "ra", PROBES)
    written = api.list_writes()
    assert written[:4] == [
        f"PATCH /api/v1/namespaces/{NAMESPACE}",
        f"PATCH {CORE}/services/pypi-mirror",
        f"PATCH {CORE}/configmaps/pypi-mirror-record",
        f"POST {CORE}/secrets",
    ]
    assert written[-2:] == [f"PATCH {STATEFUL_SET}", "PATCH /api/v1/namespaces/kube-system"]
    record = read_record(api)
    assert (record["cluster_ip"], record["port"]) == (address, 3200)
    assert record["settings"] == {"port": 3200}


def test_remembers_options_and_address(api: MemoryApi) -> None:
    first = run_up(api, port=3200)
    result = run_up(api, size="30Gi")
    assert result.endpoint == first.endpoint
    assert read_record(api)["settings"] == {"port": 3200, "size": "30Gi"}
    assert api.list_writes().count(f"POST {CORE}/secrets") == 1


def test_a_second_run_changes_nothing(api: MemoryApi) -> None:
    run_up(api)
    before = api.dump()
    run_up(api)
    assert api.dump() == before


def test_brings_the_service_back_at_its_address(api: MemoryApi) -> None:
    first = run_up(api)
    api.remove("Service", "pypi-mirror", NAMESPACE)
    spec = {"clusterIP": "10.152.183.99", "ports": [{"port": 3141}]}
    api.seed(make_object("Service", "pypi-mirror", NAMESPACE, spec=spec))
    assert run_up(api).endpoint == first.endpoint
    assert f"DELETE {CORE}/services/pypi-mirror" in api.list_writes()


def test_names_the_service_that_has_its_address_now(api: MemoryApi) -> None:
    address = str(run_up(api).endpoint.address)
    api.remove("Service", "pypi-mirror", NAMESPACE)
    spec = {"clusterIP": address, "ports": [{"port": 80}]}
    api.seed(make_object("Service", "thief", "default", spec=spec))
    with pytest.raises(RefusedError, match=f"{address} is used by Service default/thief now"):
        run_up(api)
    assert str(run_up(api, new_address=True).endpoint.address) != address


def test_leaves_a_foreign_namespace_as_it_is(api: MemoryApi) -> None:
    api.seed(make_object("Namespace", NAMESPACE))
    run_up(api)
    assert f"PATCH /api/v1/namespaces/{NAMESPACE}" not in api.list_writes()


def test_keeps_the_modules_of_a_running_image_of_version_0_1(api: MemoryApi) -> None:
    def get_modules() -> list[str]:
        stateful_set = api.read("StatefulSet", "pypi-mirror", NAMESPACE)
        containers = stateful_set["spec"]["template"]["spec"]["containers"]
        return [container["command"][2] for container in containers[:2]]

    def rename(stateful_set: Any) -> None:
        for container in stateful_set["spec"]["template"]["spec"]["containers"]:
            command = container["command"]
            command[2] = command[2].replace("mirror.cache", "mirror.public")

    run_up(api)
    assert get_modules() == ["mirror.private_names", "mirror.cache"]
    api.edit("StatefulSet", "pypi-mirror", NAMESPACE, rename)
    run_up(api)
    assert get_modules() == ["mirror.private", "mirror.public"]


def test_takes_fields_back_that_somebody_else_changed(api: MemoryApi) -> None:
    run_up(api)
    before = api.read("StatefulSet", "pypi-mirror", NAMESPACE)["spec"]

    def edit(stateful_set: Any) -> None:
        stateful_set["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
        stateful_set["spec"]["revisionHistoryLimit"] = 3

    api.edit("StatefulSet", "pypi-mirror", NAMESPACE, edit)
    run_up(api)
    after = api.read("StatefulSet", "pypi-mirror", NAMESPACE)["spec"]
    assert after["template"] == before["template"]
    assert after["revisionHistoryLimit"] == 3, "a field that the mirror does not set"


def test_plans_without_writing(api: MemoryApi) -> None:
    request = UpRequest(namespace=NAMESPACE, options={})
    empty = api.dump()
    plan, objects = plan_up(DirectCluster(api), request, ImageRequest(), SILENT)
    assert {step.action for step in plan} == {"create"}
    assert len(plan) == len(objects) + 1, "and the Secret"
    assert api.list_writes() == []
    assert api.dump() == empty
    run_up(api)
    installed = api.dump()
    api.requests.clear()
    plan, _ = plan_up(DirectCluster(api), request, ImageRequest(), SILENT)
    assert {(step.kind, step.action) for step in plan} == {(step.kind, "nothing") for step in plan}
    larger = UpRequest(namespace=NAMESPACE, options={"size": "30Gi"})
    plan, _ = plan_up(DirectCluster(api), larger, ImageRequest(), SILENT)
    changed = [step.kind for step in plan if step.action == "change"]
    assert changed == ["PersistentVolumeClaim"]
    assert api.list_writes() == []
    assert api.dump() == installed


def test_records_the_image_that_it_was_given_for_node_agents(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the digests of the nodes. One that the mirror's own record names is not recorded."""
    result = run_up(api)
    assert result.agent_image == "mirror:1"
    recorded = AgentImage(
        reference="mirror:1", ids=("sha256:aa",), origin="recorded by mirror up in pypi-mirror"
    )
    assert read_agent_image(DirectCluster(api)) == recorded
    previous = EnsuredImage(reference="evil:1", is_chosen=False)
    monkeypatch.setattr(image_module, "ensure_image", lambda *_, **__: previous)
    result = run_up(api)
    assert (result.image, result.agent_image) == ("evil:1", None)
    assert read_agent_image(DirectCluster(api)) == recorded


def test_the_mirror_works_without_the_right_to_record_its_image(api: MemoryApi) -> None:
    user = api.add_user("limited", [Rule("*", "*")])
    user.withheld.append(Rule("patch", "namespaces", names=("kube-system",)))
    assert run_up(api, user).agent_image == "mirror:1", "--with-fixes can use it all the same"
    assert read_agent_image(DirectCluster(api)) is None


def test_of_two_that_start_it_at_once_both_end_with_one_password(api: MemoryApi) -> None:
    """The second one finds a Secret that it did not see before."""
    stored: list[Any] = []
    data = {"root-password": "dGhlaXJz", "secretfile": "eA=="}
    secret = make_object("Secret", "pypi-mirror", NAMESPACE, data=data)
    api.failures.run(on("POST", f"{CORE}/secrets"), lambda _: stored.append(api.seed(secret)))
    run_up(api)
    assert api.read("Secret", "pypi-mirror", NAMESPACE) == stored[0]


@pytest.mark.parametrize("path", [f"{CORE}/secrets/*", f"{CORE}/configmaps/pypi-mirror-record"])
@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_read_is_not_taken_for_absent(
    api: MemoryApi, path: str, status: int
) -> None:
    """Otherwise the mirror would get a new password, or another address."""
    run_up(api)
    before = api.dump()
    api.failures.refuse(on("GET", path), status, times=None)
    with pytest.raises(ApiError):
        run_up(api)
    after = api.dump()
    for name in ("Secret", "Service"):
        key = f"{name}/{NAMESPACE}/pypi-mirror"
        assert after[key] == before[key]
    record = f"ConfigMap/{NAMESPACE}/pypi-mirror-record"
    assert after[record] == before[record]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["a new mirror", "a change"])
def test_a_second_run_finishes_after_a_kill_at_every_write(
    api: MemoryApi, when: When, first: bool
) -> None:
    options: dict[str, Any] = {} if first else {"port": 3200, "size": "30Gi"}
    kills = 0
    while True:
        for obj in [*api.store.values()]:
            if obj["metadata"].get("namespace") == NAMESPACE:
                api.remove(obj["kind"], obj["metadata"]["name"], NAMESPACE)
        api.remove("Namespace", NAMESPACE)
        address = None if first else run_up(api).endpoint.address
        api.failures.kill_at_write(kills + 1, when)
        try:
            run_up(api, **options)
        except KilledError:
            kills += 1
        else:
            break
        api.failures.revive()
        has_secret = api.has("Secret", "pypi-mirror", NAMESPACE)
        secret = api.read("Secret", "pypi-mirror", NAMESPACE) if has_secret else None
        result = run_up(api, **options)
        record = read_record(api)
        assert address in (None, result.endpoint.address), kills
        assert record["cluster_ip"] == str(result.endpoint.address), kills
        assert record["settings"] == options, kills
        assert secret in (None, api.read("Secret", "pypi-mirror", NAMESPACE)), kills
        assert api.read("Pod", "pypi-mirror-0", NAMESPACE)["status"]["phase"] == "Running"
    api.failures.revive()
    # the namespace, Service, record, Secret, Service, claim, proxy, policy and StatefulSet, and the
    # image in kube-system
    assert kills == (10 if first else 9)


# -- rights ---------------------------------------------------------------------------------------

FOUR = "get patch create delete"
RIGHTS = [
    *[(verb, "configmaps") for verb in FOUR.split()],
    *[(verb, "services") for verb in FOUR.split()],
    *[(verb, "persistentvolumeclaims") for verb in FOUR.split()],
    *[(verb, "networkpolicies") for verb in FOUR.split()],
    *[(verb, "statefulsets") for verb in FOUR.split()],
    *[(verb, "secrets") for verb in ("get", "create")],
    *[(verb, "pods") for verb in ("get", "list", "create", "delete")],
    ("get", "pods/log"),
    ("list", "events"),
    ("get", "pods/portforward"),
    ("create", "pods/portforward"),
]
CLUSTER_RIGHTS = [
    ("list", "nodes"),
    ("get", "namespaces"),
    ("patch", "namespaces"),
    ("list", "storageclasses"),
]


def add_limited_user(api: MemoryApi) -> User:
    """Add a user with the rights of docs/rights.md and no others."""
    rules = [Rule(*right, namespaces=(NAMESPACE,)) for right in RIGHTS]
    return api.add_user("limited", [*rules, *(Rule(*right) for right in CLUSTER_RIGHTS)])


def test_the_documented_rights_are_enough(api: MemoryApi) -> None:
    user = add_limited_user(api)
    run_up(api, user)
    run_up(api, user, port=3200)
    assert run_down(api, user, purge=False).removed
    written = [request for request in api.requests if request.is_write]
    assert [str(request) for request in written if request.status >= 400] == []


@pytest.mark.parametrize("missing", [*RIGHTS, *CLUSTER_RIGHTS], ids=" ".join)
def test_names_a_missing_right_and_writes_nothing(api: MemoryApi, missing: tuple[str, str]) -> None:
    user = add_limited_user(api)
    user.withheld.append(Rule(*missing))
    before = api.dump()
    with pytest.raises(ClusterError) as error:
        run_up(api, user)
    where = "the whole cluster" if missing in CLUSTER_RIGHTS else f"namespace {NAMESPACE}"
    named = f"{' '.join(missing)} in {where}"
    # what is read before the check is refused by the server itself
    refused = f'cannot {missing[0]} resource "{missing[1]}"'
    assert named in error.value.why or refused in error.value.why
    assert api.list_writes() == []
    assert api.dump() == before


# -- down -----------------------------------------------------------------------------------------


def test_down_keeps_packages_and_purge_removes_everything(api: MemoryApi) -> None:
    endpoint = run_up(api).endpoint
    api.seed(make_object("Namespace", "shop"))
    publish(api, "shop")
    result = run_down(api, purge=False)
    assert result.removed == (
        "StatefulSet/pypi-mirror",
        "NetworkPolicy/pypi-mirror",
        "ConfigMap/pypi-mirror-front",
    )
    assert list_names(api) == {
        "Namespace/pypi-mirror",
        "PersistentVolumeClaim/pypi-mirror-data",
        "Secret/pypi-mirror",
        "Service/pypi-mirror",
        "ConfigMap/pypi-mirror-record",
        "ConfigMap/pypi-mirror-env",
        "ConfigMap/pypi-mirror-published-pypi-mirror",
    }
    assert run_up(api).endpoint == endpoint
    result = run_down(api, purge=True)
    assert result.withdrawn == ("shop",)
    assert "Namespace/pypi-mirror" in result.removed
    assert list_names(api) == set()
    assert read_agent_image(DirectCluster(api)) is None
    assert not api.read("Namespace", "kube-system")["metadata"].get("annotations")


def test_down_without_a_mirror_writes_nothing(api: MemoryApi) -> None:
    before = api.dump()
    for purge in (False, True):
        assert run_down(api, purge=purge).removed == ()
    assert api.dump() == before


def test_a_purge_keeps_a_namespace_that_is_not_ours(api: MemoryApi) -> None:
    api.seed(make_object("Namespace", NAMESPACE))
    run_up(api)
    assert "Namespace/pypi-mirror" not in run_down(api, purge=True).removed
    assert list_names(api) == {"Namespace/pypi-mirror"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_purge_is_finished_after_a_kill_at_every_write(api: MemoryApi, when: When) -> None:
    api.seed(make_object("Namespace", "shop"))
    kills = 0
    while True:
        run_up(api)
        publish(api, "shop")
        api.failures.kill_at_write(kills + 1, when)
        try:
            run_down(api, purge=True)
        except KilledError:
            kills += 1
        else:
            break
        api.failures.revive()
        run_down(api, purge=True)
        assert list_names(api) == set(), kills
    api.failures.revive()
    assert kills >= 10


# -- publish --------------------------------------------------------------------------------------


def test_publishes_to_existing_namespaces_only(api: MemoryApi) -> None:
    endpoint = run_up(api).endpoint
    api.seed(make_object("Namespace", "shop"))
    api.requests.clear()
    with pytest.raises(InputError, match="no namespace 'none'"):
        publish(api, "shop", "none")
    assert api.list_writes() == []
    publish(api, "shop")
    recorded = api.read("ConfigMap", "pypi-mirror-published-pypi-mirror", "kube-system")
    # where an editor of the mirror's namespace cannot write
    assert json.loads(recorded["data"]["publications.json"])["namespaces"] == ["shop"]
    assert read_record(api)["published"] == []
    config_map = api.read("ConfigMap", "pypi-mirror-env", "shop")
    assert config_map["data"]["UV_DEFAULT_INDEX"] == endpoint.url


def test_refuses_to_publish_over_a_foreign_config_map(api: MemoryApi) -> None:
    run_up(api)
    api.seed(
        make_object("Namespace", "shop"),
        make_object("ConfigMap", "pypi-mirror-env", "shop", data={"A": "theirs"}),
    )
    before = api.dump()
    with pytest.raises(RefusedError, match="is not ours"):
        publish(api, "shop")
    assert api.dump() == before


def test_a_new_address_is_published_again(api: MemoryApi) -> None:
    first = run_up(api).endpoint
    api.seed(make_object("Namespace", "shop"), make_object("Namespace", "gone"))
    publish(api, "shop", "gone")
    api.remove("ConfigMap", "pypi-mirror-env", "gone")
    api.remove("Namespace", "gone")
    # the address of a Service that is gone could be given to the next one
    taken = {"clusterIP": str(first.address), "ports": [{"port": 80}]}
    api.remove("Service", "pypi-mirror", NAMESPACE)
    api.seed(make_object("Service", "other", "default", spec=taken))
    second = run_up(api, new_address=True).endpoint
    assert second.address != first.address
    published = api.read("ConfigMap", "pypi-mirror-env", "shop")["data"]
    assert published["UV_DEFAULT_INDEX"] == second.url
    assert not api.has("ConfigMap", "pypi-mirror-env", "gone")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_published_config_map_is_left_after_a_kill(
    api: MemoryApi, number: int, when: When
) -> None:
    """A purge finds what an interrupted `mirror env --publish` wrote."""
    run_up(api)
    api.seed(make_object("Namespace", "shop"), make_object("Namespace", "office"))
    api.failures.kill_at_write(number, when)
    with pytest.raises(KilledError):
        publish(api, "shop", "office")
    api.failures.revive()
    run_down(api, purge=True)
    assert list_names(api) == set()


@pytest.mark.parametrize(
    ("right", "left"),
    [
        (Rule("create", "configmaps", namespaces=("kube-system",)), False),
        (Rule("patch create", "configmaps", namespaces=("shop",)), True),
    ],
    ids=["no record", "no ConfigMap"],
)
def test_nothing_is_published_without_a_record(api: MemoryApi, right: Rule, left: bool) -> None:
    run_up(api)
    api.seed(make_object("Namespace", "shop"))
    user = api.add_user("limited", [Rule("*", "*")])
    user.withheld.append(right)
    with pytest.raises(ClusterError):
        publish_environment(DirectCluster(api, user), NAMESPACE, ["shop"])
    assert not api.has("ConfigMap", "pypi-mirror-env", "shop")
    assert api.has("ConfigMap", "pypi-mirror-published-pypi-mirror", "kube-system") is left


def test_a_config_map_that_somebody_took_over_stays(api: MemoryApi) -> None:
    run_up(api)
    api.seed(make_object("Namespace", "shop"))
    publish(api, "shop")

    def take_over(config_map: Any) -> None:
        config_map["metadata"]["labels"] = {}
        config_map["data"] = {"A": "theirs"}

    api.edit("ConfigMap", "pypi-mirror-env", "shop", take_over)
    run_up(api, new_address=True)
    assert run_down(api, purge=True).withdrawn == ()
    assert api.read("ConfigMap", "pypi-mirror-env", "shop")["data"] == {"A": "theirs"}
