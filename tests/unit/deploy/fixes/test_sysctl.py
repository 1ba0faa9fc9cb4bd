"""What pod-sysctl and host-sysctl plan from evidence, and how they edit each target."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.changes.fix import Refusal
from deploy.changes.model import CannotEdit, Edit, NodeFile, NodeSysctl, ObjectSpec
from deploy.evidence.hosts import ConflistFile, HostView, NodeHost, SysctlLine
from deploy.evidence.unseen import Unseen
from deploy.fixes import host_sysctl, ippool, pod_sysctl
from deploy.formats.conflist import read_plugin_types
from mirror.agent import allowlist
from tests.unit.deploy.fixes.sample_evidence import (
    CALICO,
    HOST,
    PATH,
    TEXT,
    expect_refusal,
    make_evidence,
    target_names,
)


def test_plans_the_template_first_then_each_node() -> None:
    assert target_names(pod_sysctl.plan_changes(make_evidence(), {}, ())) == [
        "ConfigMap kube-system/calico-config key cni_network_config",
        f"file {PATH} on node anubis",
        f"file {PATH} on node babel",
    ]


def test_plans_only_the_nodes_files_without_calico() -> None:
    assert len(target_names(pod_sysctl.plan_changes(make_evidence(calico=None), {}, ()))) == 2


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (replace(HOST, plugins=("calico",)), "no plugin `tuning`"),
        (replace(HOST, allowlist="^net.core.*$\n"), "allowlist.conf does not allow"),
        (replace(HOST, allowlist="^net.ipv6.conf.all.disable_ipv6$\n"), "default.disable_ipv6"),
        (replace(HOST, allowlist="(\n"), "allowlist.conf does not allow"),
        (replace(HOST, conflists=()), "no CNI configuration in /etc/cni/net.d"),
        (replace(HOST, conflists=(ConflistFile(path=PATH, text="{"),)), "line 1, column 2"),
        (replace(HOST, conflists=(ConflistFile(path="/etc/x.conf", text="{}"),)), "not a list"),
        (replace(HOST, links=()), "no IPv6"),
    ],
)
def test_refuses_and_names_an_unfit_node(host: HostView, reason: str) -> None:
    refusal = expect_refusal(pod_sysctl.plan_changes(make_evidence(host), {}, ()))
    assert not refusal.needless
    (line,) = refusal.objects
    assert line.startswith("node babel: ")
    assert reason in line
    assert refusal.next_step


def test_accepts_an_allowlist_with_the_keys() -> None:
    fit = replace(HOST, allowlist="^net.core.*$\n^net.ipv6.conf.\\w+.disable_ipv6$\n")
    assert len(target_names(pod_sysctl.plan_changes(make_evidence(fit), {}, ()))) == 3


def test_edits_the_first_file_as_the_runtime_does() -> None:
    other = ConflistFile(path="/etc/cni/net.d/05-other.conflist", text=TEXT)
    host = replace(HOST, conflists=(*HOST.conflists, other))
    assert (
        target_names(pod_sysctl.plan_changes(make_evidence(host), {}, ()))[-1]
        == f"file {other.path} on node babel"
    )


def test_leaves_out_and_names_a_node_that_is_not_ready() -> None:
    result = pod_sysctl.plan_changes(
        make_evidence(Unseen(reason="the node is not Ready"), ready=False), {}, ()
    )
    assert len(target_names(result)) == 2
    assert not isinstance(result, Refusal)
    assert all("not on babel" in change.why for change in result)


def test_refuses_if_a_ready_node_has_no_agent() -> None:
    refusal = pod_sysctl.plan_changes(make_evidence(Unseen(reason="no image")), {}, ())
    assert expect_refusal(refusal).objects == ("node babel: no image",)


@pytest.mark.parametrize("fix", [pod_sysctl, ippool, host_sysctl])
def test_refuses_with_the_operators_object(fix: Any) -> None:
    refusal = expect_refusal(
        fix.plan_changes(make_evidence(calico=replace(CALICO, operator=True)), {}, ())
    )
    assert "Installation" in refusal.objects[0]
    assert "kubectl edit installation" in refusal.next_step


def test_keeps_other_plugins() -> None:
    target = NodeFile(node="babel", path=PATH)
    after = pod_sysctl.edit(Edit(fix="pod-sysctl"), target, TEXT.encode())
    assert after is not None
    assert read_plugin_types(after.decode()) == (
        "calico",
        "tuning",
        "tuning",
        "portmap",
        "bandwidth",
    )
    assert pod_sysctl.edit(Edit(fix="pod-sysctl"), target, after) == after
    for bad in (None, b"{", b"\xff"):
        with pytest.raises(CannotEdit):
            pod_sysctl.edit(Edit(fix="pod-sysctl"), target, bad)


# -- host-sysctl ----------------------------------------------------------------------------------


def test_plans_hosts_in_order() -> None:
    result = target_names(host_sysctl.plan_changes(make_evidence(), {}, ()))
    assert result[:2] == [
        "DaemonSet kube-system/calico-node",
        "ConfigMap kube-system/pypi-mirror-node-orders key orders.json",
    ]
    assert result[2:5] == [
        f"file {allowlist.BOOT_FILE} on node anubis",
        f"sysctl {allowlist.DISABLE_IPV6_DEFAULT} on node anubis",
        f"sysctl {allowlist.DISABLE_IPV6_ALL} on node anubis",
    ]
    assert len(result) == 8


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"address": "fd70::3"}, "node babel: InternalIP fd70::3"),
        ({"server": "https://[fd70::1]:6443"}, "API server: https://[fd70::1]:6443"),
        (
            {"api_addresses": ("10.0.0.1", "fd70::1")},
            "API server behind the Service kubernetes: fd70::1",
        ),
        (
            {"calico": replace(CALICO, etcd=("https://10.0.0.1:2379", "https://[fd70::9]:2379"))},
            "Calico's etcd: https://[fd70::9]:2379",
        ),
    ],
)
def test_refuses_a_cluster_that_uses_ipv6(fields: dict[str, Any], named: str) -> None:
    refusal = expect_refusal(host_sysctl.plan_changes(make_evidence(**fields), {}, ()))
    assert refusal.objects == (named,)
    assert "IPv4" in refusal.next_step


@pytest.mark.parametrize(
    ("path", "line", "stops"),
    [
        ("/etc/sysctl.conf", "net.ipv6.conf.all.disable_ipv6 = 0", True),
        ("/etc/sysctl.conf", "net.ipv6.conf.all.disable_ipv6=1", False),
        ("/etc/sysctl.conf", "net/ipv6/conf/lo/disable_ipv6 = 1", True),
        ("/etc/sysctl.d/99-x.conf", "net.ipv6.conf.all.disable_ipv6 = 0", False),
        ("/etc/sysctl.d/zzz.conf", "net.ipv6.conf.default.disable_ipv6 = 0", True),
    ],
)
def test_refuses_later_lines_that_contradict(path: str, line: str, stops: bool) -> None:
    host = replace(HOST, sysctl_lines=(SysctlLine(path=path, line=line),))
    result = host_sysctl.plan_changes(make_evidence(host), {}, ())
    assert isinstance(result, Refusal) == stops
    if isinstance(result, Refusal):
        assert result.objects == (f"node babel: {path}: {line}",)


def test_takes_over_what_a_runbook_left_only_with_adopt() -> None:
    line = SysctlLine(path="/etc/sysctl.conf", line="net.ipv6.conf.all.disable_ipv6=1")
    host = replace(HOST, sysctl_lines=(line,))
    without = host_sysctl.plan_changes(make_evidence(host), {}, ())
    assert not isinstance(without, Refusal)
    assert "file /etc/sysctl.conf on node babel" not in target_names(without)
    assert any("by hand stay, and remove ::1" in change.why for change in without)
    taken = target_names(host_sysctl.plan_changes(make_evidence(host), {"adopt": True}, ()))
    assert "file /etc/sysctl.conf on node babel" in taken
    assert "DaemonSet kube-system/disable-ipv6" in taken
    edit = Edit(fix="host-sysctl")
    target = NodeFile(node="babel", path="/etc/sysctl.conf")
    before = b"# mine\nkernel.panic=1\n net.ipv6.conf.all.disable_ipv6=1\r\nnet.ipv6.conf.x=2"
    after = b"# mine\nkernel.panic=1\nnet.ipv6.conf.x=2"
    assert host_sysctl.edit(edit, target, before) == after
    runbook = ObjectSpec(kind="DaemonSet", namespace="kube-system", name="disable-ipv6")
    assert host_sysctl.edit(edit, runbook, b"{}") is None


def test_does_nothing_without_ipv6_in_the_kernel() -> None:
    bare = replace(HOST, links=())
    hosts = tuple(NodeHost(node=name, view=bare) for name in ("anubis", "babel"))
    assert expect_refusal(
        host_sysctl.plan_changes(replace(make_evidence(), hosts=hosts), {}, ())
    ).needless
    with pytest.raises(CannotEdit):
        host_sysctl.edit(Edit(fix="x"), NodeSysctl(node="a", key=allowlist.DISABLE_IPV6_ALL), None)


MULTUS = '{"name": "multus", "type": "multus-shim", "clusterNetwork": "/host/etc/cni/net.d/%s"}'
MULTUS_PATH = "/etc/cni/net.d/00-multus.conf"


def test_edits_the_configuration_that_multus_delegates_to() -> None:
    first = ConflistFile(path=MULTUS_PATH, text=MULTUS % "10-calico.conflist")
    host = replace(HOST, conflists=(first, ConflistFile(path=PATH, text=TEXT)))
    result = target_names(pod_sysctl.plan_changes(make_evidence(host, calico=None), {}, ()))
    assert result == [f"file {PATH} on node {node}" for node in ("anubis", "babel")]


@pytest.mark.parametrize("text", [MULTUS % "10-other.conflist", '{"type": "multus"}'])
def test_names_multus_if_its_delegate_is_not_there(text: str) -> None:
    first = ConflistFile(path=MULTUS_PATH, text=text)
    host = replace(HOST, conflists=(first, ConflistFile(path=PATH, text=TEXT)))
    refusal = expect_refusal(pod_sysctl.plan_changes(make_evidence(host), {}, ()))
    assert refusal.objects == (
        f"node babel: {MULTUS_PATH}: Multus has its delegate in its own file or it is not there: "
        "edit that network's configuration",
    )


def test_names_k3s_and_its_folder() -> None:
    host = replace(HOST, conflists=(), plugins=())
    evidence = make_evidence(host)
    assert not isinstance(evidence.nodes, Unseen)
    nodes = tuple(replace(node, distribution="k3s") for node in evidence.nodes)
    refusal = expect_refusal(pod_sysctl.plan_changes(replace(evidence, nodes=nodes), {}, ()))
    assert refusal.reason == (
        "k3s keeps the CNI configuration of babel in /var/lib/rancher/k3s/agent/etc/cni/net.d, "
        "and writes it anew at each start"
    )
    assert "--flannel-cni-conf" in refusal.next_step
    assert not refusal.needless


def tuned(**sysctl: str) -> str:
    settings = {f"net.ipv6.conf.{link}.disable_ipv6": value for link, value in sysctl.items()}
    return json.dumps({"plugins": [{"type": "aws-cni"}, {"type": "tuning", "sysctl": settings}]})


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (tuned(all="1"), ""),
        (tuned(all="1", lo="0"), ""),
        (tuned(all="1", default="1", lo="1"), ", and ::1 with it"),
        (tuned(all="1").replace("net.ipv6.conf.all.", "net/ipv6/conf/all/"), ""),
    ],
)
def test_says_that_the_nodes_own_configuration_does_it(text: str, note: str) -> None:
    host = replace(HOST, conflists=(ConflistFile(path=PATH, text=text),), plugins=())
    hosts = tuple(NodeHost(node=name, view=host) for name in ("anubis", "babel"))
    evidence = replace(make_evidence(calico=None), hosts=hosts)
    refusal = expect_refusal(pod_sysctl.plan_changes(evidence, {}, ()))
    assert refusal.needless
    assert refusal.objects == tuple(
        f"node {node}: {PATH} turns IPv6 off in new pods{note}" for node in ("anubis", "babel")
    )


def test_one_node_that_does_not_is_not_enough() -> None:
    host = replace(HOST, conflists=(ConflistFile(path=PATH, text=tuned(all="1")),))
    evidence = make_evidence(host, calico=None)
    assert len(target_names(pod_sysctl.plan_changes(evidence, {}, ()))) == 2


def test_calicos_template_has_to_have_it_too() -> None:
    host = replace(HOST, conflists=(ConflistFile(path=PATH, text=tuned(all="1")),))
    hosts = tuple(NodeHost(node=name, view=host) for name in ("anubis", "babel"))
    result = pod_sysctl.plan_changes(replace(make_evidence(), hosts=hosts), {}, ())
    assert len(target_names(result)) == 3


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        ('{"type": "tuning", "sysctl": {"net.ipv6.conf.all.disable_ipv6": "0"}}', "of its own"),
        (
            '{"type": "tuning", "sysctl": {"net.ipv6.conf.all.disable_ipv6": "1"}}, '
            '{"type": "tuning", "sysctl": {"net/ipv6/conf/all/disable_ipv6": "0"}}',
            "a later plugin `tuning` turns IPv6 on again",
        ),
    ],
)
def test_refuses_a_configuration_that_turns_ipv6_on(plugins: str, message: str) -> None:
    text = f'{{"plugins": [{{"type": "ptp"}}, {plugins}]}}'
    target = NodeFile(node="babel", path=PATH)
    with pytest.raises(CannotEdit, match=message):
        pod_sysctl.edit(Edit(fix="pod-sysctl"), target, text.encode())


def test_names_a_cni_folder_that_the_agent_does_not_enter() -> None:
    reason = "/etc/cni/net.d/x: net.d is a symbolic link or no folder"
    host = replace(HOST, conflists=(), rejected=(reason,))
    refusal = expect_refusal(pod_sysctl.plan_changes(make_evidence(host), {}, ()))
    assert refusal.objects == (f"node babel: {reason}",)


def test_a_calico_node_that_looks_for_no_ipv6_is_left_byte_for_byte() -> None:
    def render(value: str) -> bytes:
        spec = {"containers": [{"name": "calico-node", "env": [{"name": "IP6", "value": value}]}]}
        return json.dumps({"template": {"spec": spec}}, indent=7).encode()

    assert host_sysctl._disable_autodetection(render("none")) == render("none")
    changed = host_sysctl._disable_autodetection(render("autodetect"))
    assert changed is not None
    assert json.loads(changed) == json.loads(render("none"))
