"""The reconciler follows the ledger: installed, refreshed, and removed with the last fix."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.changes.model import AppliedEdit, Change, ConfigMapKey, Edit, LedgerEntry, NodeFile
from deploy.cluster.client import ApiError
from deploy.evidence import node_agent
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair import node_agents, reconciler
from mirror.core.errors import ClusterError, InputError, UnfitError
from tests.fix_targets import CHANGES, FixTargets, apply_fixes, roll_back_fixes
from tests.kubernetes_api import DirectCluster, KilledError, MemoryApi, Rule, on
from tests.kubernetes_api.controllers import roll_out_workloads
from tests.kubernetes_api.failures import When

SYSTEM = "kube-system"
CORE = f"/api/v1/namespaces/{SYSTEM}"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/pypi-mirror-keeper"
CONFLIST = "/etc/cni/net.d/x.conflist"
KINDS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Deployment"}


@pytest.fixture
def api() -> MemoryApi:
    """Provide an API with the fix `dns`, in which workloads start at once."""
    api = MemoryApi()
    FixTargets.in_memory(api).recreate()
    apply_fixes(FixTargets.in_memory(api), "dns")
    api.remove("Deployment", "web", "default")
    api.after_write.append(roll_out_workloads)
    api.requests.clear()
    return api


def install(api: MemoryApi) -> reconciler.ReconcilerStatus:
    return reconciler.install(DirectCluster(api), "mirror:1")


def list_objects(api: MemoryApi) -> set[str]:
    """Return Kind/namespace of every object of the reconciler."""
    return {
        f"{obj['kind']}/{obj['metadata'].get('namespace', '')}"
        for obj in api.store.values()
        if obj["kind"] in KINDS or obj["metadata"]["name"] == "pypi-mirror-keeper"
    }


def test_install_creates_permissions_before_the_deployment(api: MemoryApi) -> None:
    status = install(api)
    assert api.list_writes() == [
        f"PATCH {CORE}/configmaps/pypi-mirror-keeper",
        f"PATCH {CORE}/serviceaccounts/pypi-mirror-keeper",
        f"PATCH {RBAC}/roles/pypi-mirror-keeper",
        f"PATCH {RBAC}/rolebindings/pypi-mirror-keeper",
        f"PATCH {DEPLOYMENT}",
    ]
    assert status.kept == ("ConfigMap kube-system/coredns key Corefile",)
    assert reconciler.read_status(DirectCluster(api)) == status


def test_a_second_install_changes_nothing(api: MemoryApi) -> None:
    install(api)
    before = api.dump()
    install(api)
    assert api.dump() == before


def test_refresh_writes_nothing_if_the_targets_are_the_same(api: MemoryApi) -> None:
    install(api)
    api.requests.clear()
    reconciler.refresh(DirectCluster(api))
    assert api.list_writes() == []


def test_refresh_adds_another_fix(api: MemoryApi) -> None:
    install(api)
    custom = ConfigMapKey(namespace=SYSTEM, name="coredns-custom", key="x.override")
    change = Change(target=custom, edit=CHANGES["dns"][0].edit, why="")
    engine = FixTargets.in_memory(api).make_engine()
    for update in engine.plan([change]):
        engine.apply(update)
    reconciler.refresh(DirectCluster(api))
    container = api.read("Deployment", "pypi-mirror-keeper", SYSTEM)["spec"]["template"]["spec"]
    command = container["containers"][0]["command"]
    assert {word.partition("=")[2] for word in command if "=" in word} == {
        "/api/v1/namespaces/kube-system/configmaps/coredns",
        "/api/v1/namespaces/kube-system/configmaps/coredns-custom",
    }
    role = api.read("Role", "pypi-mirror-keeper", SYSTEM)
    assert {tuple(rule.get("resourceNames", ())) for rule in role["rules"]} >= {
        ("coredns", "coredns-custom")
    }


def test_refresh_uninstalls_with_the_last_fix(api: MemoryApi) -> None:
    install(api)
    roll_back_fixes(FixTargets.in_memory(api), "dns")
    reconciler.refresh(DirectCluster(api))
    assert list_objects(api) == set()


def test_install_removes_permissions_that_are_not_needed_any_more(api: MemoryApi) -> None:
    api.seed({"kind": "Namespace", "metadata": {"name": "calico"}})
    for obj in render_reconciler_objects("mirror:1", [])[2:4]:
        assert obj["kind"] in {"Role", "RoleBinding"}
        api.seed({**obj, "metadata": {**obj["metadata"], "namespace": "calico"}})
    install(api)
    assert list_objects(api) == {
        "ConfigMap/kube-system",
        "ServiceAccount/kube-system",
        "Role/kube-system",
        "RoleBinding/kube-system",
        "Deployment/kube-system",
    }


def test_install_leaves_the_roles_of_others(api: MemoryApi) -> None:
    api.seed({"kind": "Role", "metadata": {"name": "theirs", "namespace": SYSTEM}, "rules": []})
    install(api)
    reconciler.uninstall(DirectCluster(api))
    assert list_objects(api) == {"Role/kube-system"}
    assert api.has("Role", "theirs", SYSTEM)


def test_uninstall_names_what_it_removed(api: MemoryApi) -> None:
    install(api)
    assert reconciler.uninstall(DirectCluster(api)) == (
        "ConfigMap kube-system/pypi-mirror-keeper",
        "Deployment kube-system/pypi-mirror-keeper",
        "RoleBinding kube-system/pypi-mirror-keeper",
        "Role kube-system/pypi-mirror-keeper",
        "ServiceAccount kube-system/pypi-mirror-keeper",
    )
    assert list_objects(api) == set()
    assert reconciler.uninstall(DirectCluster(api)) == ()


def test_refresh_does_nothing_without_a_reconciler(api: MemoryApi) -> None:
    reconciler.refresh(DirectCluster(api))
    user = api.add_user("limited")
    reconciler.refresh(DirectCluster(api, user))
    assert api.list_writes() == []


def test_refresh_does_not_take_an_error_for_absent(api: MemoryApi) -> None:
    install(api)
    api.failures.refuse(on("GET", DEPLOYMENT), 500)
    with pytest.raises(ApiError):
        reconciler.refresh(DirectCluster(api))


def test_install_needs_a_fix_and_an_image(api: MemoryApi) -> None:
    with pytest.raises(UnfitError, match="no image"):
        reconciler.install(DirectCluster(api), None)
    with pytest.raises(InputError, match="nothing to keep"):
        reconciler.install(DirectCluster(MemoryApi()), "mirror:1")
    assert api.list_writes() == []


FOUR = ("get", "create", "patch", "delete")
RESOURCES = ("configmaps", "serviceaccounts", "roles", "rolebindings", "deployments")


@pytest.mark.parametrize(
    "missing", [(verb, resource) for resource in RESOURCES for verb in FOUR], ids=" ".join
)
def test_names_a_missing_right_and_writes_nothing(api: MemoryApi, missing: tuple[str, str]) -> None:
    user = api.add_user("limited", [Rule("*", "*")])
    user.withheld.append(Rule(*missing))
    with pytest.raises(ClusterError) as error:
        reconciler.install(DirectCluster(api, user), "mirror:1")
    text = str(error.value)
    assert f"{' '.join(missing)} in namespace {SYSTEM}" in text or (
        f'cannot {missing[0]} resource "{missing[1]}"' in text
    )
    assert api.list_writes() == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["install", "uninstall"])
def test_a_second_run_finishes_after_a_kill_at_every_write(
    api: MemoryApi, operation: str, when: When
) -> None:
    cluster = DirectCluster(api)
    kills = 0
    while True:
        if operation == "uninstall":
            install(api)
        api.failures.kill_at_write(kills + 1, when)
        try:
            install(api) if operation == "install" else reconciler.uninstall(cluster)
        except KilledError:
            kills += 1
        else:
            break
        api.failures.revive()
        if operation == "install":
            status = install(api)
            assert reconciler.read_status(cluster) == status, kills
        reconciler.uninstall(cluster)
        assert list_objects(api) == set(), kills
    assert kills == 5


class FakeLedgerEngine:
    """An engine whose ledger has a file of each of these nodes."""

    def __init__(self, *nodes: str) -> None:
        self._nodes = nodes

    def entries(self) -> list[LedgerEntry]:
        edits = (AppliedEdit(edit=Edit(fix="pod-sysctl"), step=1, steps=1),)
        targets = [NodeFile(node=node, path=CONFLIST) for node in self._nodes]
        return [LedgerEntry(target=t, base=b"", edits=edits, written=b"x") for t in targets]

    def check_permissions(self, targets: Any, extra: Any) -> None:
        pass


def test_agents_that_respond_keep_what_is_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an object of the API the reconciler has no pod; the agents do everything."""
    api = MemoryApi()
    api.after_write.append(roll_out_workloads)
    cluster = DirectCluster(api)
    nodes = ["ra", "babel"]
    monkeypatch.setattr(reconciler, "build_engine", lambda _: FakeLedgerEngine(*nodes))
    monkeypatch.setattr(node_agent, "ensure_agents", lambda *_: {"ra": "agent-1"})
    monkeypatch.setattr(reconciler, "_find_agents", lambda _: {"ra": "agent-1"})
    calls: list[Any] = []

    def sync_agents(*arguments: Any) -> set[tuple[str, str]]:
        calls.append(arguments[-1])
        return {("ra", CONFLIST)}

    monkeypatch.setattr(node_agents, "sync_agents", sync_agents)
    monkeypatch.setattr(node_agents, "read_kept_targets", lambda *_: {("ra", CONFLIST)})
    monkeypatch.setattr(node_agents, "stop_agents", lambda _, pods: calls.append(f"stop {pods}"))
    status = reconciler.install(cluster, "mirror:1")
    assert (status.kept, status.not_kept) == (
        (f"file {CONFLIST} on node ra",),
        (f"file {CONFLIST} on node babel",),
    )
    assert api.read("Deployment", "pypi-mirror-keeper", SYSTEM)["spec"]["replicas"] == 0
    assert reconciler.read_status(cluster) == status
    api.requests.clear()
    reconciler.refresh(cluster)
    reconciler.refresh_agents(cluster)
    assert (api.list_writes(), calls) == ([], [{"ra": "agent-1"}] * 3)
    nodes.clear()
    reconciler.refresh(cluster)
    assert (list_objects(api), calls[-1]) == (set(), "stop {'ra': 'agent-1'}")
    reconciler.refresh_agents(cluster)
    assert len(calls) == 4, "without a reconciler no agent is called"
