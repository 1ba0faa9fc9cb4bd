"""Commands side by side do not remove each other's node agents; the last one removes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from deploy.changes import lease
from deploy.cluster import process_identity
from deploy.evidence import agent_users
from deploy.evidence.node_agent import ensure_agents
from deploy.evidence.nodes import NodeState
from deploy.repair.node_agents import remove_idle_agents
from mirror.core.errors import RefusedError, UnfitError
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule, on

NAME, SYSTEM = "pypi-mirror-node-agent", "kube-system"
DAEMON_SETS = f"/apis/apps/v1/namespaces/{SYSTEM}/daemonsets"


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    seed_agents(api)
    return api


def seed_agents(api: MemoryApi, **annotations: str) -> None:
    labels = {"app": "agent"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "m"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    meta = {"name": NAME, "namespace": SYSTEM, "annotations": annotations}
    api.seed({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})


def start_other(api: MemoryApi) -> None:
    """Start a command on another machine."""
    agent_users._active.append("eve@elsewhere pid 1 start x")
    assert agent_users.register_user(DirectCluster(api))
    agent_users._active.pop()


def users(api: MemoryApi) -> tuple[str, ...]:
    return agent_users.list_other_users(api.read("DaemonSet", NAME, SYSTEM))


def test_the_only_command_removes_them(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    with agent_users.using_agents(cluster):
        annotations = api.read("DaemonSet", NAME, SYSTEM)["metadata"]["annotations"]
        assert len([key for key in annotations if key.startswith("pypi-mirror/user-")]) == 1
        assert users(api) == (), "it does not count itself"
    assert not api.read("DaemonSet", NAME, SYSTEM)["metadata"].get("annotations")
    remove_idle_agents(cluster)
    assert not api.has("DaemonSet", NAME, SYSTEM)
    assert not api.has("Lease", lease.LEASE_NAME, SYSTEM)


def test_another_command_keeps_them(api: MemoryApi) -> None:
    start_other(api)
    cluster = DirectCluster(api)
    with agent_users.using_agents(cluster):
        pass
    remove_idle_agents(cluster)
    assert users(api) == ("eve@elsewhere pid 1",)
    assert api.has("DaemonSet", NAME, SYSTEM)


def test_a_command_that_starts_meanwhile_keeps_them(api: MemoryApi) -> None:
    """Between the count and the removal, which is of the counted version only."""
    api.failures.run(on("DELETE", f"{DAEMON_SETS}/*"), lambda _: start_other(api))
    remove_idle_agents(DirectCluster(api))
    assert users(api) == ("eve@elsewhere pid 1",)


def test_they_stay_while_somebody_holds_the_lease(api: MemoryApi) -> None:
    renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "eve@elsewhere pid 1 start x", "renewTime": renewed}
    meta = {"name": lease.LEASE_NAME, "namespace": SYSTEM}
    group = "coordination.k8s.io/v1"
    api.seed({"apiVersion": group, "kind": "Lease", "metadata": meta, "spec": spec})
    with pytest.raises(RefusedError, match="eve@elsewhere"):
        remove_idle_agents(DirectCluster(api))
    assert api.has("DaemonSet", NAME, SYSTEM)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"by": "eve"}',
        json.dumps({"by": "eve", "until": "2020-01-01T00:00:00+00:00"}),
        json.dumps({"by": "eve", "until": "2999-01-01T00:00:00+00:00"}),
        json.dumps({"by": "eve", "until": "soon"}),
    ],
)
def test_old_and_broken_marks_keep_nothing(text: str) -> None:
    api = MemoryApi()
    seed_agents(api, **{"pypi-mirror/user-x": text})
    assert users(api) == ()


def test_a_killed_command_of_this_machine_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    api = MemoryApi()
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    stamp = f"{process_identity.pid_space()}/1"
    by = f"{process_identity.current_user()} pid 999999999 start {stamp}"
    seed_agents(api, **{"pypi-mirror/user-x": json.dumps({"by": by, "until": until})})
    assert users(api) == ()
    monkeypatch.setattr(process_identity, "process_stamp", lambda _: stamp)
    assert users(api) == (f"{process_identity.current_user()} pid 999999999",)


def test_a_user_without_the_right_uses_them_uncounted(api: MemoryApi) -> None:
    user = api.add_user("limited", [Rule("get", "daemonsets")])
    with agent_users.using_agents(DirectCluster(api, user)):
        pass
    assert not api.read("DaemonSet", NAME, SYSTEM)["metadata"].get("annotations")


def test_agents_that_are_started_count_their_command(api: MemoryApi) -> None:
    api.remove("DaemonSet", NAME, SYSTEM)
    cluster = DirectCluster(api)
    with agent_users.using_agents(cluster):
        ensure_agents(cluster, "mirror:1", ())
        annotations = api.read("DaemonSet", NAME, SYSTEM)["metadata"]["annotations"]
        assert any(key.startswith("pypi-mirror/user-") for key in annotations)


def test_a_refusal_of_the_agents_pods_is_named_at_once(api: MemoryApi) -> None:
    """By Pod Security, an admission policy, a webhook or a quota."""
    reason = 'pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces'
    uid = api.read("DaemonSet", NAME, SYSTEM)["metadata"]["uid"]
    involved = {"kind": "DaemonSet", "name": NAME, "namespace": SYSTEM, "uid": uid}
    meta = {"name": "x", "namespace": SYSTEM}
    event = {"involvedObject": involved, "reason": "FailedCreate", "message": reason}
    api.seed({"apiVersion": "v1", "kind": "Event", "metadata": meta, **event})
    node = NodeState(name="ra", ready=True, architecture="amd64")
    with pytest.raises(UnfitError, match="refuses the node agent's pods") as error:
        ensure_agents(DirectCluster(api), None, (node,))
    assert error.value.why == reason
    assert "pod-security" in error.value.next_step
