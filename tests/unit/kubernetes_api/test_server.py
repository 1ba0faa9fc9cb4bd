"""The API in memory over HTTP and beside it: what tests rely on."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from deploy.cluster.client import ApiError, Cluster
from deploy.cluster.pod_exec import run_in_pod
from deploy.cluster.port_forward import forward_port
from mirror.core.errors import ClusterError
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, KilledError, MemoryApi, Rule, on, serve_api
from tests.kubernetes_api.controllers import make_pod

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    template = {"spec": {"containers": [{"name": "main", "image": "i:1"}]}}
    metadata = {"name": "w", "namespace": "default"}
    workload = api.seed({"kind": "DaemonSet", "metadata": metadata, "spec": {"template": template}})
    api.seed(make_pod(workload, "p", "node"))
    return api


def connect(kubeconfig: Path) -> Cluster:
    return Cluster.connect(kubeconfig=kubeconfig, context=None, deadline=Deadline.after(20))


def echo(argv: list[str], text: str) -> tuple[int, str, str]:
    return len(argv), text.upper() + "x" * 70_000, "trouble"


@pytest.mark.parametrize("is_http", [True, False], ids=["http", "direct"])
def test_runs_a_program_in_a_pod(api: MemoryApi, tmp_path: Path, is_http: bool) -> None:
    api.programs["default", "p"] = echo
    with serve_api(api) as served:
        kubeconfig = served.write_kubeconfig(tmp_path / "config")
        cluster = connect(kubeconfig) if is_http else DirectCluster(api)
        code, output, errors = run_in_pod(cluster, "default", "p", ["a", "b c"], "hello")
        assert (code, output, errors) == (2, "HELLO\n" + "x" * 70_000, "trouble")
        with pytest.raises(ClusterError, match="cannot run a program in pod default/none"):
            run_in_pod(cluster, "default", "none", ["a"], "")
        user = api.add_user("limited", [Rule("get", "pods")])
        kubeconfig = served.write_kubeconfig(tmp_path / "limited", user)
        limited = connect(kubeconfig) if is_http else DirectCluster(api, user)
        with pytest.raises(ClusterError, match="cannot run a program in pod default/p") as error:
            run_in_pod(limited, "default", "p", ["a"], "")
        assert "limited" in error.value.why
        assert 'cannot get resource "pods/exec"' in error.value.why
    assert [request.status for request in api.requests] == [101, 404, 403]


def test_forwards_a_port_of_a_pod(api: MemoryApi, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):  # forward_port tries it first
            connection, _ = listener.accept()
            with connection:
                if data := connection.recv(100):
                    connection.sendall(data[::-1])

    threading.Thread(target=answer, daemon=True).start()
    api.ports["default", "p", 80] = listener.getsockname()
    with serve_api(api) as served, listener:
        cluster = connect(served.write_kubeconfig(tmp_path / "config"))
        with (
            forward_port(cluster, "default", "p", 80) as port,
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        ):
            connection.sendall(b"abc")
            assert connection.recv(100) == b"cba"
        with pytest.raises(ClusterError, match="no port-forward to pod default/p"):
            forward_port(cluster, "default", "p", 81).__enter__()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_client_sends_nothing_more(api: MemoryApi, tmp_path: Path, when: str) -> None:
    with serve_api(api) as served:
        cluster = connect(served.write_kubeconfig(tmp_path / "config"))
        direct = DirectCluster(api)
        api.failures.kill_at_write(2, "before" if when == "before" else "after")
        direct.create(MAP)
        with pytest.raises(ClusterError, match="does not answer"):
            cluster.delete("ConfigMap", "a", "default")
        assert api.has("ConfigMap", "a", "default") is (when == "before")
        with pytest.raises(KilledError):
            direct.get("ConfigMap", "a", "default")
        api.failures.revive()
        assert cluster.delete("ConfigMap", "a", "default") is (when == "before")


def test_a_dry_run_is_no_write_and_counts_for_no_kill(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    api.failures.kill_at_write(1)
    cluster.create(MAP, dry_run=True)
    assert cluster.is_allowed("create", "configmaps")
    assert api.list_writes() == []
    with pytest.raises(KilledError):
        cluster.create(MAP)
    assert api.list_writes() == [f"POST {PATH}"]


def test_a_refusal_after_a_request_leaves_its_effect(api: MemoryApi) -> None:
    api.failures.refuse(on("POST", PATH), 504, "Timeout", when="after")
    with pytest.raises(ApiError) as error:
        DirectCluster(api).create(MAP)
    assert (error.value.status, error.value.reason) == (504, "Timeout")
    assert api.has("ConfigMap", "a", "default")


def test_another_writer_comes_in_between(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    created = cluster.create(MAP | {"data": {"x": "1"}})
    api.failures.run(
        on("PUT", f"{PATH}/a"),
        lambda _: api.edit("ConfigMap", "a", "default", lambda obj: obj["data"].update(x="2")),
    )
    with pytest.raises(ApiError) as error:
        cluster.replace(created | {"data": {"x": "3"}})
    assert (error.value.status, error.value.reason) == (409, "Conflict")
    assert api.read("ConfigMap", "a", "default")["data"] == {"x": "2"}


def test_a_service_account_has_the_rights_of_its_roles(api: MemoryApi) -> None:
    account = DirectCluster(api, api.add_service_account("default", "robot"))
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    meta = {"name": "r", "namespace": "default"}
    api.seed({"kind": "Role", "metadata": meta, "rules": [rule | {"resourceNames": ["a"]}]})
    assert not account.is_allowed("get", "configmaps", "default")
    subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
    reference = {"kind": "Role", "name": "r"}
    api.seed({"kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]})
    assert account.get("ConfigMap", "a", "default") is None
    for name, namespace in (("b", "default"), ("a", "kube-system")):
        with pytest.raises(ApiError) as error:
            account.get("ConfigMap", name, namespace)
        assert error.value.status == 403
