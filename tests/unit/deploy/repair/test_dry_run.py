"""A dry run starts nothing privileged: it plans from the API and says what it has not seen."""

from __future__ import annotations

import pytest

from cli.output import fix_plan
from deploy.changes.model import NodeFile
from deploy.evidence.agent_image import AgentImage, record_agent_image
from deploy.evidence.collect import CollectOptions
from deploy.fix_registry import load_fixes
from deploy.repair.model import FixRequest, RepairPlan
from deploy.repair.plan import plan_fixes
from deploy.repair.rollback import plan_rollback
from mirror.core.wait import Deadline
from tests.cluster.node_fix_cluster import build_calico_objects
from tests.kubernetes_api import CALICO_V1, DirectCluster, MemoryApi
from tests.unit.deploy.changes.test_ledger_format import CONFIG_MAPS

IMAGE = AgentImage(reference="mirror:1", ids=("sha256:aa",), origin="recorded by mirror up in x")
CONFLIST = "/etc/cni/net.d/10-calico.conflist"


@pytest.fixture
def api() -> MemoryApi:
    """Two nodes with Calico by manifest, without any agent."""
    api = MemoryApi(*CALICO_V1)
    for number, name in enumerate(("anubis", "babel")):
        status = {
            "conditions": [{"type": "Ready", "status": "True" if number == 0 else "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.34.0"},
        }
        metadata = {"name": name, "labels": {}}
        api.seed({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})
    for obj in build_calico_objects()["items"]:
        api.seed(obj)
    return api


def plan(api: MemoryApi, *names: str, dry_run: bool = True) -> RepairPlan:
    look = CollectOptions(namespace="pypi-mirror", agent_image=IMAGE)
    fixes = tuple(load_fixes()[name] for name in names)
    options = {"delete": False, "force-pool": False, "adopt": False}
    request = FixRequest(fixes=fixes, options=options, look=look, dry_run=dry_run)
    return plan_fixes(DirectCluster(api, deadline=Deadline.after(2)), request)


def test_plans_what_the_api_shows_and_lists_the_rest(api: MemoryApi) -> None:
    before = api.dump()
    result = plan(api, "pod-sysctl", "host-sysctl", "ippool")
    assert api.list_writes() == []
    assert api.dump() == before
    assert [decision.refusal for decision in result.decisions] == [None, None, None]
    diffs = {diff.target: diff.text for diff in result.diffs}
    assert set(diffs) == {
        "ConfigMap kube-system/calico-config key cni_network_config",
        "DaemonSet kube-system/calico-node",
        "ConfigMap kube-system/pypi-mirror-node-orders key orders.json",
        "IPPool default-ipv6-ippool",
    }
    assert '+    {"type": "tuning"' in next(iter(diffs.values())).replace("+      ", "+    ")
    unseen = [str(change.target) for change in result.unseen]
    assert sorted(set(unseen)) == [
        f"file {CONFLIST} on node anubis",
        "file /etc/sysctl.d/zz-pypi-mirror-ipv6.conf on node anubis",
        "sysctl net.ipv6.conf.all.disable_ipv6 on node anubis",
        "sysctl net.ipv6.conf.default.disable_ipv6 on node anubis",
    ]
    assert result.agent_image == IMAGE
    assert not result.is_noop


def test_a_cni_without_a_template_is_not_guessed(api: MemoryApi) -> None:
    for kind, name in (("ConfigMap", "calico-config"), ("DaemonSet", "calico-node")):
        api.remove(kind, name, "kube-system")
    api.remove("IPPool", "default-ipv6-ippool")
    result = plan(api, "pod-sysctl")
    (change,) = result.unseen
    assert isinstance(change.target, NodeFile)
    assert change.target.path == "/etc/cni/net.d/(the first).conflist"
    assert result.diffs == ()


def test_shows_the_agents_image_and_what_was_not_seen(
    api: MemoryApi, capsys: pytest.CaptureFixture[str]
) -> None:
    result = plan(api, "host-sysctl")
    fix_plan.print_plan(result)
    text = " ".join(capsys.readouterr().out.split())
    assert "NOT observed, because no node agent runs and a dry run starts none" in text
    assert "node agent: a privileged pod on every node, image mirror:1 (sha256:aa)" in text
    assert "recorded by mirror up in x" in text
    assert "nothing to write" not in text
    document = fix_plan.plan_document(result)
    assert document["agent"] == {
        "reference": "mirror:1",
        "ids": ["sha256:aa"],
        "origin": "recorded by mirror up in x",
    }
    assert document["idle"] is False
    assert len(document["unseen"]) == 3  # type: ignore[arg-type]


def test_a_plan_without_nodes_shows_no_image(api: MemoryApi) -> None:
    result = plan(api, "dns")
    assert (result.agent_image, result.unseen) == (None, ())


def test_a_rollback_starts_no_agent_either(api: MemoryApi) -> None:
    for config_map in CONFIG_MAPS:
        if "NodeFile" in config_map["data"]["entry.json"]:
            api.seed(config_map)
    cluster = DirectCluster(api, deadline=Deadline.after(2))
    if not api.has("Namespace", "kube-system"):
        api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    record_agent_image(cluster, "mirror:1", [], "pypi-mirror")
    writes = len(api.list_writes())
    result = plan_rollback(cluster, (), dry_run=True)
    assert len(api.list_writes()) == writes
    assert {type(target) for target in result.unreachable} == {NodeFile}
