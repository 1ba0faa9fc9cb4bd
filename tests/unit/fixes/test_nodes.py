"""What the fixes of the nodes decide, on evidence, and what they make of each target."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.changes.model import (
    CannotEdit,
    Change,
    Edit,
    NodeFile,
    NodeSysctl,
    ObjectSpec,
    Refusal,
)
from deploy.evidence.host import Conflist, HostView, SysctlLine
from deploy.evidence.model import Evidence, Node, NodeHost, Unseen
from deploy.evidence.things import Calico, IpPool
from deploy.fixes import host_sysctl, ippool, pod_sysctl
from deploy.formats.conflist import plugin_types

TEXT = json.dumps(
    {
        "name": "k8s-pod-network",
        "plugins": [
            {"type": "calico", "ipam": {"type": "calico-ipam", "assign_ipv6": "true"}},
            {"type": "portmap"},
            {"type": "bandwidth"},
        ],
    }
)
PATH = "/etc/cni/net.d/10-calico.conflist"
HOST = HostView(
    net_d="/etc/cni/net.d",
    conflists=(Conflist(path=PATH, text=TEXT),),
    plugins=("calico", "tuning"),
    allowlist=None,
    links=(("all", "0"), ("default", "0"), ("eth0", "0"), ("lo", "0")),
    addresses=("eth0 fd70::2/64", "lo ::1/128"),
    sysctl_lines=(),
)
CALICO = Calico(
    namespace="kube-system", operator=False, installed=True, env=("IP6=autodetect",), config=TEXT
)
POOLS = (
    IpPool(name="default-ipv4-ippool", cidr="10.1.0.0/16"),
    IpPool(name="default-ipv6-ippool", cidr="fd70:8823:7283::/48", pods=("chronicle/a",)),
)


def evidence(
    host: HostView | Unseen = HOST, *, ready: bool = True, address: str = "10.0.0.3", **more: Any
) -> Evidence:
    """Two nodes: anubis as in HOST, babel as given."""
    nodes = tuple(
        Node(name=name, ready=on, architecture="amd64", addresses=(at,))
        for name, on, at in (("anubis", True, "10.0.0.2"), ("babel", ready, address))
    )
    hosts = (NodeHost(node="anubis", view=HOST), NodeHost(node="babel", view=host))
    given: dict[str, Any] = {"calico": CALICO, "ip_pools": POOLS, "server": "https://10.0.0.1:1"}
    return Evidence(context="c", taken="", nodes=nodes, hosts=hosts, **{**given, **more})


def made(found: tuple[Change, ...] | Refusal) -> list[str]:
    assert not isinstance(found, Refusal), found
    return [str(change.target) for change in found]


def refused(found: tuple[Change, ...] | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


# -- pod-sysctl -----------------------------------------------------------------------------------


def test_the_template_comes_first_then_each_node() -> None:
    assert made(pod_sysctl.changes(evidence(), {}, ())) == [
        "ConfigMap kube-system/calico-config key cni_network_config",
        f"file {PATH} on node anubis",
        f"file {PATH} on node babel",
    ]


def test_without_calico_only_the_nodes_files() -> None:
    assert len(made(pod_sysctl.changes(evidence(calico=None), {}, ()))) == 2


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (replace(HOST, plugins=("calico",)), "no plugin `tuning`"),
        (replace(HOST, allowlist="^net.core.*$\n"), "allowlist.conf does not allow"),
        (replace(HOST, allowlist="^net.ipv6.conf.all.disable_ipv6$\n"), "default.disable_ipv6"),
        (replace(HOST, allowlist="(\n"), "allowlist.conf does not allow"),
        (replace(HOST, conflists=()), "no CNI configuration in /etc/cni/net.d"),
        (replace(HOST, conflists=(Conflist(path=PATH, text="{"),)), "line 1, column 2"),
        (replace(HOST, conflists=(Conflist(path="/etc/x.conf", text="{}"),)), "no list"),
        (replace(HOST, links=()), "no IPv6"),
    ],
)
def test_one_unfit_node_is_named_before_the_first_write(host: HostView, said: str) -> None:
    told = refused(pod_sysctl.changes(evidence(host), {}, ()))
    assert not told.needless
    (line,) = told.objects
    assert line.startswith("node babel: ")
    assert said in line
    assert told.next_step


def test_an_allowlist_that_allows_is_no_hindrance() -> None:
    fit = replace(HOST, allowlist="^net.core.*$\n^net.ipv6.conf.\\w+.disable_ipv6$\n")
    assert len(made(pod_sysctl.changes(evidence(fit), {}, ()))) == 3


def test_the_runtime_takes_the_first_file() -> None:
    other = Conflist(path="/etc/cni/net.d/05-other.conflist", text=TEXT)
    host = replace(HOST, conflists=(*HOST.conflists, other))
    assert (
        made(pod_sysctl.changes(evidence(host), {}, ()))[-1] == f"file {other.path} on node babel"
    )


def test_a_node_that_is_not_ready_is_named_and_left_out() -> None:
    found = pod_sysctl.changes(
        evidence(Unseen(reason="the node is not Ready"), ready=False), {}, ()
    )
    assert len(made(found)) == 2
    assert not isinstance(found, Refusal)
    assert all("not on babel" in change.why for change in found)


def test_a_ready_node_without_an_agent_stops_it() -> None:
    told = pod_sysctl.changes(evidence(Unseen(reason="no image")), {}, ())
    assert refused(told).objects == ("node babel: no image",)


@pytest.mark.parametrize("fix", [pod_sysctl, ippool, host_sysctl])
def test_an_operator_is_pointed_to_its_object(fix: Any) -> None:
    told = refused(fix.changes(evidence(calico=replace(CALICO, operator=True)), {}, ()))
    assert "Installation" in told.objects[0]
    assert "kubectl edit installation" in told.next_step


def test_other_plugins_are_kept() -> None:
    target = NodeFile(node="babel", path=PATH)
    after = pod_sysctl.edit(Edit(fix="pod-sysctl"), target, TEXT.encode())
    assert after is not None
    assert plugin_types(after.decode()) == ("calico", "tuning", "tuning", "portmap", "bandwidth")
    assert pod_sysctl.edit(Edit(fix="pod-sysctl"), target, after) == after
    for bad in (None, b"{", b"\xff"):
        with pytest.raises(CannotEdit):
            pod_sysctl.edit(Edit(fix="pod-sysctl"), target, bad)


# -- host-sysctl ----------------------------------------------------------------------------------


def test_hosts_in_order() -> None:
    found = made(host_sysctl.changes(evidence(), {}, ()))
    assert found[:2] == [
        "DaemonSet kube-system/calico-node",
        "ConfigMap kube-system/pypi-mirror-node-orders key orders.json",
    ]
    assert found[2:5] == [
        f"file {host_sysctl.BOOT_FILE} on node anubis",
        f"sysctl {host_sysctl.DEFAULT} on node anubis",
        f"sysctl {host_sysctl.ALL} on node anubis",
    ]
    assert len(found) == 8


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"address": "fd70::3"}, "node babel: InternalIP fd70::3"),
        ({"server": "https://[fd70::1]:6443"}, "API server: https://[fd70::1]:6443"),
    ],
)
def test_a_cluster_that_speaks_ipv6_is_refused(more: dict[str, Any], named: str) -> None:
    told = refused(host_sysctl.changes(evidence(**more), {}, ()))
    assert told.objects == (named,)
    assert "IPv4" in told.next_step


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
def test_lines_that_are_read_later(path: str, line: str, stops: bool) -> None:
    host = replace(HOST, sysctl_lines=(SysctlLine(path=path, line=line),))
    found = host_sysctl.changes(evidence(host), {}, ())
    assert isinstance(found, Refusal) == stops
    if isinstance(found, Refusal):
        assert found.objects == (f"node babel: {path}: {line}",)


def test_what_a_runbook_left_is_taken_over_only_when_told() -> None:
    line = SysctlLine(path="/etc/sysctl.conf", line="net.ipv6.conf.all.disable_ipv6=1")
    host = replace(HOST, sysctl_lines=(line,))
    without = host_sysctl.changes(evidence(host), {}, ())
    assert not isinstance(without, Refusal)
    assert "file /etc/sysctl.conf on node babel" not in made(without)
    assert any("by hand stay" in change.why for change in without)
    taken = made(host_sysctl.changes(evidence(host), {"adopt": True}, ()))
    assert "file /etc/sysctl.conf on node babel" in taken
    assert "DaemonSet kube-system/disable-ipv6" in taken
    edit = Edit(fix="host-sysctl")
    target = NodeFile(node="babel", path="/etc/sysctl.conf")
    before = b"# mine\nkernel.panic=1\n net.ipv6.conf.all.disable_ipv6=1\r\nnet.ipv6.conf.x=2"
    after = b"# mine\nkernel.panic=1\nnet.ipv6.conf.x=2"
    assert host_sysctl.edit(edit, target, before) == after
    runbook = ObjectSpec(kind="DaemonSet", namespace="kube-system", name="disable-ipv6")
    assert host_sysctl.edit(edit, runbook, b"{}") is None


def test_a_kernel_without_ipv6_needs_nothing() -> None:
    bare = replace(HOST, links=())
    hosts = tuple(NodeHost(node=name, view=bare) for name in ("anubis", "babel"))
    assert refused(host_sysctl.changes(replace(evidence(), hosts=hosts), {}, ())).needless
    with pytest.raises(CannotEdit):
        host_sysctl.edit(Edit(fix="x"), NodeSysctl(node="a", key=host_sysctl.ALL), None)


# -- ippool ---------------------------------------------------------------------------------------


def test_what_asks_goes_before_the_pool() -> None:
    found = made(ippool.changes(evidence(), {}, ()))
    assert found[0].startswith("ConfigMap")
    assert found[-1] == "IPPool default-ipv6-ippool"
    assert len(found) == 4


def test_a_pool_in_use_is_disabled_but_not_deleted() -> None:
    told = refused(ippool.changes(evidence(), {"delete": True}, ()))
    assert told.objects == ("chronicle/a has default-ipv6-ippool's address",)
    forced = ippool.changes(evidence(), {"delete": True, "force-pool": True}, ())
    assert made(forced)[-2:] == ["DaemonSet kube-system/calico-node", "IPPool default-ipv6-ippool"]


def test_no_calico_and_no_pool_need_nothing() -> None:
    assert refused(ippool.changes(evidence(calico=None), {}, ())).needless
    quiet = TEXT.replace("true", "false")
    host = replace(HOST, conflists=(Conflist(path=PATH, text=quiet),))
    hosts = tuple(NodeHost(node=name, view=host) for name in ("anubis", "babel"))
    calico = replace(CALICO, config=quiet)
    seen = replace(evidence(ip_pools=POOLS[:1], calico=calico), hosts=hosts)
    assert refused(ippool.changes(seen, {}, ())).needless


def test_a_pool_that_was_deleted_by_hand_leaves_a_question_to_end() -> None:
    assert len(made(ippool.changes(evidence(ip_pools=POOLS[:1]), {}, ()))) == 3


def test_a_second_run_keeps_what_the_first_did() -> None:
    first = ippool.changes(evidence(), {}, ())
    assert not isinstance(first, Refusal)
    off = (POOLS[0], replace(POOLS[1], disabled=True))
    assert made(ippool.changes(evidence(ip_pools=off), {}, first)) == made(first)


def test_a_pool_keeps_all_but_disabled() -> None:
    spec = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "natOutgoing": False}
    target = ObjectSpec(kind="IPPool", name="p")
    edit = Edit(fix="ippool", options={"delete": False})
    after = ippool.edit(edit, target, json.dumps(spec).encode())
    assert after is not None
    assert json.loads(after) == {**spec, "disabled": True}
    assert ippool.edit(Edit(fix="ippool", options={"delete": True}), target, b"{}") is None


def test_calico_node_is_told_not_to_make_pools() -> None:
    env = [
        {"name": "IP6", "value": "autodetect"},
        {"name": "CALICO_IPV4POOL_CIDR", "value": "10.1.0.0/16"},
        {"name": "CALICO_IPV6POOL_CIDR", "value": "fd70::/48"},
        {"name": "FELIX_X", "value": "1"},
    ]
    spec = {"template": {"spec": {"containers": [{"name": "calico-node", "env": env}]}}}
    target = ObjectSpec(kind="DaemonSet", namespace="kube-system", name="calico-node")
    after = ippool.edit(
        Edit(fix="ippool", options={"delete": False}), target, json.dumps(spec).encode()
    )
    assert after is not None
    assert json.loads(after)["template"]["spec"]["containers"][0]["env"] == [
        {"name": "FELIX_X", "value": "1"},
        {"name": "NO_DEFAULT_POOLS", "value": "true"},
        {"name": "IP6", "value": "none"},
    ]
