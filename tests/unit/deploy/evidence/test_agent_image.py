"""The node agent's image: who chooses it, and what is compared when agents start."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest

from deploy.cluster.client import ApiError, Object
from deploy.evidence import node_agent
from deploy.evidence.agent_image import (
    ANNOTATION,
    AgentImage,
    choose_agent_image,
    explain_pull_secret,
    forget_agent_image,
    read_agent_image,
    read_pull_secret,
    record_agent_image,
)
from deploy.evidence.hosts import read_hosts
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import Unseen
from deploy.fix_registry import read_fix_states
from deploy.manifests.agent import render_agent_daemon_set
from mirror.core.progress import SILENT, SilentProgress
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule
from tests.kubernetes_api.controllers import make_pod
from tests.unit.deploy.changes.test_ledger_format import CONFIG_MAPS

REFERENCE, GOOD, EVIL = "docker.io/library/mirror:1", "sha256:" + "a" * 64, "sha256:" + "e" * 64
NODES = tuple(
    NodeState(name=name, ready=True, architecture="amd64", addresses=("10.0.0.2",))
    for name in ("anubis", "babel")
)


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    if not api.has("Namespace", "kube-system"):
        api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    return api


def run_agents(api: MemoryApi, ids: dict[str, str]) -> Callable[[MemoryApi], None]:
    """Run one agent per node, whose kubelet reports this digest."""

    def run(api: MemoryApi) -> None:
        for workload in api.list_objects("DaemonSet"):
            for node, digest in ids.items():
                name = f"agent-{node}"
                if api.has("Pod", name, "kube-system"):
                    continue
                pod = make_pod(workload, name, node)
                pod["status"]["containerStatuses"][0]["imageID"] = f"lab/mirror@{digest}"
                api.seed(pod)

    api.after_write.append(run)
    return run


def connect(api: MemoryApi, seconds: float = 1) -> DirectCluster:
    return DirectCluster(api, deadline=Deadline.after(seconds))


def test_an_editor_of_the_mirrors_namespace_does_not_choose_the_image(api: MemoryApi) -> None:
    """S1: their StatefulSet names another image."""
    cluster = connect(api)
    record_agent_image(cluster, REFERENCE, [GOOD], "pypi-mirror")
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pypi-mirror"}})
    editor = api.add_user("editor", [Rule("*", "*", namespaces=("pypi-mirror",))])
    theirs = DirectCluster(api, editor)
    spec = {"containers": [{"name": "devpi", "image": "evil:1"}]}
    theirs.create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "pypi-mirror", "namespace": "pypi-mirror"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "serviceName": "x",
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec},
            },
        }
    )
    with pytest.raises(ApiError) as error:
        record_agent_image(theirs, "evil:1", [], "pypi-mirror")
    assert error.value.status == 403
    chosen = choose_agent_image(cluster, None)
    assert chosen == AgentImage(
        reference=REFERENCE, ids=(GOOD,), origin="recorded by mirror up in pypi-mirror"
    )
    assert chosen.describe() == f"{REFERENCE} ({GOOD})"
    assert choose_agent_image(connect(MemoryApi()), None) is None, "nothing is recorded"


def test_an_image_that_is_named_comes_first_then_the_record_then_the_one_that_runs(
    api: MemoryApi,
) -> None:
    cluster = connect(api)
    assert choose_agent_image(cluster, None) is None
    cluster.apply(render_agent_daemon_set("running:1", microk8s=False))
    running = choose_agent_image(cluster, None)
    assert running is not None
    assert running.reference == "running:1"
    record_agent_image(cluster, REFERENCE, [], "pypi-mirror")
    chosen = choose_agent_image(cluster, None)
    assert chosen is not None
    assert chosen.reference == REFERENCE
    given = choose_agent_image(cluster, "other:2")
    assert given is not None
    assert given.reference == "docker.io/library/other:2"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"image": 1, "ids": [], "mirror": ""}'])
def test_ignores_a_record_that_cannot_be_read(api: MemoryApi, text: str) -> None:
    def change(obj: Object) -> None:
        obj["metadata"]["annotations"] = {ANNOTATION: text}

    api.edit("Namespace", "kube-system", "", change)
    assert read_agent_image(connect(api)) is None


def test_a_purge_removes_the_record_of_its_own_mirror_only(api: MemoryApi) -> None:
    cluster = connect(api)
    before = copy.deepcopy(api.read("Namespace", "kube-system")["metadata"].get("annotations"))
    record_agent_image(cluster, REFERENCE, [GOOD], "pypi-mirror")
    forget_agent_image(cluster, "another")
    assert read_agent_image(cluster) is not None
    forget_agent_image(cluster, "pypi-mirror")
    after = api.read("Namespace", "kube-system")["metadata"].get("annotations")
    assert (after or None) == (before or None)


def test_an_agent_of_another_digest_is_not_used(api: MemoryApi) -> None:
    cluster = connect(api)
    record_agent_image(cluster, REFERENCE, [GOOD], "pypi-mirror")
    run_agents(api, {"anubis": GOOD, "babel": EVIL})
    assert node_agent.ensure_agents(cluster, REFERENCE, NODES) == {"anubis": "agent-anubis"}
    assert node_agent.find_running_agents(cluster, NODES) == {"anubis": "agent-anubis"}
    hosts = read_hosts(cluster, None, NODES, SILENT)
    assert not isinstance(hosts, Unseen)
    (reason,) = [
        host.view.reason for host in hosts if host.node == "babel" and isinstance(host.view, Unseen)
    ]
    assert "not from the recorded image" in reason
    assert EVIL in reason


def test_digests_of_the_first_start_are_kept_for_an_image_that_is_named(api: MemoryApi) -> None:
    """Nobody recorded it: the pods of the first start are the ones that were confirmed."""
    cluster = connect(api)
    run_agents(api, {"anubis": GOOD, "babel": GOOD})
    assert node_agent.ensure_agents(cluster, REFERENCE, NODES).keys() == {"anubis", "babel"}
    pod = api.read("Pod", "agent-babel", "kube-system")
    api.remove("Pod", "agent-babel", "kube-system")
    pod["status"]["containerStatuses"][0]["imageID"] = EVIL
    api.seed(
        {key: value for key, value in pod.items() if key != "metadata"}
        | {"metadata": {key: pod["metadata"][key] for key in ("name", "namespace", "labels")}}
    )
    assert node_agent.ensure_agents(cluster, REFERENCE, NODES).keys() == {"anubis"}
    assert node_agent.ensure_agents(cluster, None, NODES).keys() == {"anubis"}


def test_a_reference_with_a_digest_needs_no_other(api: MemoryApi) -> None:
    """The kubelet starts nothing else; it reports another kind of digest for some stores."""
    cluster, reference = connect(api), f"registry.example/mirror@{GOOD}"
    record_agent_image(cluster, reference, [GOOD], "pypi-mirror")
    run_agents(api, {"anubis": EVIL, "babel": GOOD})
    agents = node_agent.ensure_agents(cluster, reference, NODES)
    assert agents.keys() == {"anubis", "babel"}


def test_reading_the_states_of_fixes_starts_no_agent(api: MemoryApi) -> None:
    """A forged entry about a node must not make `mirror status` start privileged pods."""
    record_agent_image(connect(api), REFERENCE, [GOOD], "pypi-mirror")
    for config_map in CONFIG_MAPS:
        if "NodeFile" in config_map["data"]["entry.json"]:
            api.seed(json.loads(json.dumps(config_map)))
    requests = len(api.requests)
    states = read_fix_states(connect(api))
    assert "unknown" in {state.state for state in states}
    assert [r for r in api.requests[requests:] if r.method != "GET"] == []


class NotingProgress(SilentProgress):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_agents_pull_with_the_secret_of_that_name_in_kube_system(api: MemoryApi) -> None:
    """E9: the one in the mirror's namespace is of no use to them."""
    cluster = connect(api)
    record_agent_image(cluster, REFERENCE, [GOOD], "pypi-mirror", "corp")
    assert read_pull_secret(cluster) == "corp"
    run_agents(api, {"anubis": GOOD, "babel": GOOD})
    progress = NotingProgress()
    assert node_agent.ensure_agents(cluster, REFERENCE, NODES, progress).keys() == {
        *("anubis", "babel")
    }
    spec = api.read("DaemonSet", "pypi-mirror-node-agent", "kube-system")["spec"]["template"][
        "spec"
    ]
    assert spec["imagePullSecrets"] == [{"name": "corp"}]
    (note,) = progress.notes
    assert note.startswith("there is no Secret corp in kube-system: nodes without the image")
    assert "kubectl -n kube-system create secret docker-registry corp --docker-server=" in note
    metadata = {"name": "corp", "namespace": "kube-system"}
    api.seed({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    explain_pull_secret(cluster, progress)
    assert len(progress.notes) == 1


def test_without_a_pull_secret_none_is_named(api: MemoryApi) -> None:
    cluster = connect(api)
    record_agent_image(cluster, REFERENCE, [GOOD], "pypi-mirror")
    assert read_pull_secret(cluster) is None
    progress = NotingProgress()
    explain_pull_secret(cluster, progress)
    assert progress.notes == []
    spec = render_agent_daemon_set("m:1", microk8s=False)["spec"]["template"]["spec"]
    assert "imagePullSecrets" not in spec
