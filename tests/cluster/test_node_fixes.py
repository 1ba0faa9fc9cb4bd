"""The node fixes in a lab with Calico, dual stack and no IPv6 route to the outside.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.manifests.agent import RECONCILER_NAME
from tests.cluster import coredns, old_workloads, reconciler_checks, v3_pools
from tests.cluster.agent_image import ensure_agent_archive
from tests.cluster.fix_lab import FixLab
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.lab import running_lab
from tests.cluster.options import DEFAULT_NODES, LabOptions
from tests.cluster.waiting import wait_for
from tests.conftest import RunProgram

pytestmark = pytest.mark.cluster

IPV6_POOL = "default-ipv6-ippool"
CONFLIST = "/etc/cni/net.d/10-calico.conflist"
DISABLE_IPV6 = "net.ipv6.conf.{}.disable_ipv6"


@pytest.fixture(scope="module")
def fix_lab(program: RunProgram) -> Iterator[FixLab]:
    archive, image = ensure_agent_archive()
    options = LabOptions(
        name=f"calico-{os.getpid()}",
        poisoned=True,
        aaaa=True,
        no_ipv6_route=True,
        calico=True,
        node_grace=25,
        archives=(str(archive),),
    )
    try:
        with running_lab(options) as lab:
            yield FixLab(lab=lab, program=program, image=image)
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def before(fix_lab: FixLab) -> Mapping[str, Any]:
    """Prepare the lab and return its state before any fix.

    A user has added an address, a route and settings, and tainted a node.
    """
    run = fix_lab.lab.exec
    run("babel", "ip", "-6", "address", "add", "fd99::5/64", "dev", "eth0", "nodad")
    run("babel", "ip", "-6", "route", "add", "fd98::/64", "via", "fd99::1", "metric", "77")
    run("babel", "sysctl", "-qw", DISABLE_IPV6.format("default") + "=1")
    lines = "".join(
        f"{DISABLE_IPV6.format(n)}={v}\n" for n, v in (("all", 1), ("default", 1), ("lo", 0))
    )
    run("anubis", "tee", "-a", "/etc/sysctl.conf", stdin=f"# as the runbook left it\n{lines}")
    fix_lab.lab.kubectl("taint", "node", "babel", "only=mine:NoSchedule", "and=that:NoExecute")
    move_dns_off_ra(fix_lab)
    hosts = {node: fix_lab.read_host(node) for node in DEFAULT_NODES}
    return {"hosts": hosts, "cluster": fix_lab.read_cluster()}


def move_dns_off_ra(fix_lab: FixLab) -> None:
    """Move CoreDNS off node ra, which the tests kill."""
    kubectl = fix_lab.lab.kubectl
    kubectl("cordon", "ra")
    kubectl("-n", "kube-system", "delete", "pod", "-l", "k8s-app=kube-dns", timeout=90)
    coredns.wait_until_rolled_out(fix_lab.lab, 300)
    kubectl("uncordon", "ra")


def assert_ipv6_off(fix_lab: FixLab, *nodes: str) -> None:
    for node in nodes:
        pod = fix_lab.probe_new_pod(node)
        assert pod["addresses"] == "::1/128", node
        assert pod["disable_ipv6"] == "1", node
        assert pod["ipv4"] == "connected", node
        host = fix_lab.read_host(node)
        assert json.loads(host["links"])["all"] == "1\n", node
        assert json.loads(host["links"])["lo"] == "0\n", node
        assert host["addresses"] == "", node
        assert "::1/128" in fix_lab.lab.exec(node, "ip", "-6", "address").stdout


def wait_until_host_is_off(fix_lab: FixLab, node: str) -> None:
    """Wait until the agent on a node has turned IPv6 off without a request."""
    path = f"/proc/sys/{DISABLE_IPV6.format('all').replace('.', '/')}"
    wait_for(
        f"the agent on {node}",
        lambda: fix_lab.lab.exec(node, "cat", path).stdout == "1\n",
        timeout=300,
        interval=0.5,
    )


def test_pods_and_hosts_start_with_ipv6(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    pod = fix_lab.probe_new_pod("anubis")
    assert "fd70:8823:7283" in pod["addresses"]
    assert pod["disable_ipv6"] == "0"
    assert "fd70:8823:7283" in before["hosts"]["anubis"]["addresses"]
    assert set(before["cluster"]["pools"]) == {"default-ipv4-ippool", IPV6_POOL}


def test_refuses_to_delete_a_pool_in_use(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """The pods that use it are listed, and nothing is written."""
    output = fix_lab.fix("ippool", "--delete", code=5)
    assert "kube-system/coredns-" in output
    assert f"has {IPV6_POOL}'s address" in output
    assert fix_lab.read_cluster() == before["cluster"]


def test_dry_run_names_workloads_to_restart(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """A dry run restarts nothing, and kube-system is included only on request."""
    old_workloads.start(fix_lab.lab)
    report = json.loads(fix_lab.fix("pod-sysctl", "--restart", "all", "--dry-run", "-o", "json"))
    workloads = {
        f"{workload['namespace']}/{workload['name']}": workload for workload in report["running"]
    }
    restarted = {name for name, workload in workloads.items() if workload["restarts"]}
    assert {"older/web", "older/base", "older/each"} <= restarted
    assert not {name for name in restarted if name.startswith("kube-system/")}
    assert "no workload recreates it" in workloads["older/alone"]["why_not"]
    assert all(":" in workload["addresses"][0] for workload in workloads["older/web"]["pods"])
    assert set.union(*old_workloads.read_disable_ipv6(fix_lab.lab).values()) == {"0"}


def test_rolls_back_a_node_on_which_new_pods_do_not_start(
    fix_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """Only this node, at once, and before the pool is changed."""
    run, plugin = fix_lab.lab.exec, "/opt/cni/bin/tuning"
    run("babel", "mv", plugin, f"{plugin}.real")
    run("babel", "tee", plugin, stdin="#!/bin/sh\nexit 1\n")
    run("babel", "chmod", "755", plugin)
    output = fix_lab.fix("pod-sysctl", "ippool", code=1)
    assert "partial: babel was rolled back" in output
    assert "a new pod does not start on babel" in output
    assert fix_lab.read_host("babel")["files"] == before["hosts"]["babel"]["files"]
    assert fix_lab.probe_new_pod("babel")["disable_ipv6"] == "0"
    assert fix_lab.probe_new_pod("ra")["disable_ipv6"] == "1"
    assert fix_lab.read_cluster()["pools"] == before["cluster"]["pools"]
    states = fix_lab.read_fix_states()
    assert (states["pod-sysctl"], states["ippool"]) == ("partial", "partial")
    run("babel", "mv", f"{plugin}.real", plugin)


def test_restarts_workloads_with_old_pods(fix_lab: FixLab) -> None:
    """Each kind has its own rollout: first by label, then all. A single pod is only named."""
    output = fix_lab.fix("pod-sysctl", "--restart", "app=base")
    assert old_workloads.read_disable_ipv6(fix_lab.lab) == {
        "base": {"1"},
        "web": {"0"},
        "each": {"0"},
        "alone": {"0"},
    }
    assert "older/pod/alone" in output
    report = json.loads(fix_lab.fix("pod-sysctl", "--restart", "all", "-o", "json"))
    assert {"older/deployment/web", "older/daemonset/each"} <= set(report["restarted"])
    assert "older/statefulset/base" not in report["restarted"], "it has been restarted already"
    assert old_workloads.read_disable_ipv6(fix_lab.lab) == {
        "base": {"1"},
        "web": {"1"},
        "each": {"1"},
        "alone": {"0"},
    }
    remaining = {
        workload["name"]
        for workload in report["running"]
        if workload["namespace"] == old_workloads.NAMESPACE
    }
    assert remaining == {"alone"}


def test_applies_all_fixes_while_a_node_is_down(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """Pods and hosts have no IPv6 but ::1, and the pool is disabled. The missing node is named."""
    fix_lab.lose_node("ra")
    if "MIRROR_NODE_KILLS" in os.environ:  # test_node_kills.py tests other kill points
        folder = fix_lab.lab.site.node_folder("anubis") / "upper/etc/sysctl.d"
        fix_lab.kill_fix_when("all", when=(folder / "zz-pypi-mirror-ipv6.conf").exists)
        assert fix_lab.read_fix_states()["host-sysctl"] == "partial"
    assert "is applied, but not on ra" in fix_lab.fix("all", code=1)
    assert_ipv6_off(fix_lab, "anubis", "babel")
    assert fix_lab.read_cluster()["pools"][IPV6_POOL]["disabled"] is True


def test_applies_the_fixes_to_a_node_that_is_back(
    fix_lab: FixLab, before: Mapping[str, Any]
) -> None:
    fix_lab.lab.start_node("ra")
    wait_until_host_is_off(fix_lab, "ra")
    fix_lab.fix("all")
    assert_ipv6_off(fix_lab, "ra")
    assert set(fix_lab.read_fix_states().values()) == {"applied"}
    now = fix_lab.read_cluster()
    assert "nothing was written" in fix_lab.fix("all")
    assert fix_lab.read_cluster() == now


def test_reconciler_restores_reverted_fixes(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """An add-on writes its own Corefile with one more line and enables the pool again.

    On nodes, the original conflist is written again and IPv6 is turned on.
    """
    lab, original = fix_lab.lab, before["cluster"]["maps"]["coredns"]["Corefile"]
    fixed, expected = reconciler_checks.revert_corefile(lab, original)
    assert fix_lab.read_fix_states()["dns"] == "drifted"
    report = fix_lab.run_json("doctor", "--category", "fixes")
    commands = {remedy["command"] for finding in report["findings"] for remedy in finding["mends"]}
    assert commands == {"mirror fix search-domains", "mirror fix dns"}
    reconciler = fix_lab.run_json("fix", "--keep", "--image", fix_lab.image)["keeper"]
    file = ("anubis", CONFLIST)
    setting = ("ra", DISABLE_IPV6.format("all"))  # on ra the node defaults applied the fix
    assert {f"file {CONFLIST} on node anubis", f"sysctl {setting[1]} on node ra"} <= set(
        reconciler["keeps"]
    )
    assert reconciler["leaves"] == []
    fixed_content = reconciler_checks.revert_nodes(lab, file, setting)
    reconciler_checks.check_corefile(lab, expected)
    assert fix_lab.read_fix_states()["dns"] == "applied"
    coredns.write_corefile(lab, fixed)
    reconciler_checks.check_pool(lab)
    reconciler_checks.check_nodes(lab, file, setting, fixed_content)
    assert set(fix_lab.read_fix_states().values()) == {"applied"}


def test_reconciler_has_only_the_rights_it_needs(fix_lab: FixLab) -> None:
    reconciler_checks.check_rights(fix_lab.lab)
    assert reconciler_checks.find_pod_security_errors(fix_lab.lab) == ""


def test_doctor_names_a_stopped_reconciler(fix_lab: FixLab) -> None:
    def list_findings() -> list[tuple[str, str]]:
        report = fix_lab.run_json("doctor", "--category", "fixes")
        return [
            (finding["check"], finding["mends"][0]["command"]) for finding in report["findings"]
        ]

    fix_lab.lab.kubectl(
        "-n", "kube-system", "scale", f"deployment/{RECONCILER_NAME}", "--replicas=0"
    )
    assert list_findings() == [("fixes.keeper", "mirror fix --keep")]
    fix_lab.run_mirror("fix", "--keep", "--image", fix_lab.image)
    assert list_findings() == []


def restart_calico(fix_lab: FixLab) -> None:
    """Restart calico-node on every node."""
    selector = ("-n", "kube-system", "-l", "k8s-app=calico-node")
    fix_lab.lab.kubectl("delete", "pod", *selector, timeout=90)
    rolled_out = ("rollout", "status", "daemonset/calico-node", "--timeout=300s")
    fix_lab.lab.kubectl("-n", "kube-system", *rolled_out, timeout=310)


def test_fixes_survive_a_restart_of_calico_node(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """A disabled pool stays disabled, a deleted one stays deleted, and new pods start."""
    restart_calico(fix_lab)
    assert fix_lab.read_cluster()["pools"] == {
        **before["cluster"]["pools"],
        IPV6_POOL: {**before["cluster"]["pools"][IPV6_POOL], "disabled": True},
    }
    assert_ipv6_off(fix_lab, *DEFAULT_NODES)
    fix_lab.fix("all", "--delete", "--force-pool")  # restarts calico-node
    assert set(fix_lab.read_cluster()["pools"]) == {"default-ipv4-ippool"}


def test_fixes_survive_a_reboot_and_reach_new_nodes(
    fix_lab: FixLab, before: Mapping[str, Any]
) -> None:
    """The boot turns IPv6 off before any kubelet starts. No command runs for the new node."""
    boot_log = fix_lab.lab.logs_dir / "babel/boot.log"
    fix_lab.lab.kill_node("babel")
    boot_log.unlink()
    fix_lab.lab.start_node("babel")
    wait_for("its boot", lambda: boot_log.exists() and boot_log.read_text(), timeout=60)
    addresses = [line.split()[1] for line in boot_log.read_text().splitlines() if "inet6" in line]
    assert addresses == ["::1/128"]
    fix_lab.lab.add_node("seth")
    wait_until_host_is_off(fix_lab, "seth")
    assert_ipv6_off(fix_lab, *DEFAULT_NODES, "seth")
    assert set(fix_lab.read_cluster()["pools"]) == {"default-ipv4-ippool"}
    assert set(fix_lab.read_fix_states().values()) == {"applied"}


def test_rolls_back_all_fixes(fix_lab: FixLab, before: Mapping[str, Any]) -> None:
    """Everything is restored byte for byte; on a node that is down, once it is back."""
    fix_lab.lose_node("ra")
    assert "not rolled back on ra" in fix_lab.run_mirror("rollback", "--yes", code=1)
    assert fix_lab.read_host("anubis") == before["hosts"]["anubis"]
    fix_lab.lab.start_node("ra")
    fix_lab.run_mirror("rollback", "--yes")
    assert fix_lab.read_cluster() == before["cluster"]
    for node in DEFAULT_NODES:
        assert fix_lab.read_host(node) == before["hosts"][node], node
    new_node = fix_lab.read_host("seth")
    assert new_node["left"] == ""
    assert "fd70:8823:7283" in new_node["addresses"]
    for node in ("ra", "seth"):
        pod = fix_lab.probe_new_pod(node)
        assert "fd70:8823:7283" in pod["addresses"]
        assert pod["disable_ipv6"] == "0"
    assert reconciler_checks.list_objects(fix_lab.lab) == "", (
        "the reconciler is removed with the last fix"
    )


def test_fixes_pools_that_a_user_may_read_only_as_v3(
    fix_lab: FixLab, before: Mapping[str, Any], tmp_path: Path
) -> None:
    """Disabled through the API that serves them, proved by new pods, and rolled back."""
    with v3_pools.serve_v3_pools(fix_lab, tmp_path) as v3_lab:
        pools = v3_pools.read_specs(v3_lab)
        assert pools == before["cluster"]["pools"]
        v3_lab.fix("ippool")
        assert v3_pools.read_specs(v3_lab) == {
            **pools,
            IPV6_POOL: {**pools[IPV6_POOL], "disabled": True},
        }
        status = v3_lab.run_json("status", code=1)
        assert {fix["fix"]: fix["state"] for fix in status["fixes"]}["ippool"] == "applied"
        v3_lab.run_mirror("rollback", "ippool", "--yes")
        assert v3_pools.read_specs(v3_lab) == pools
    assert fix_lab.read_cluster() == before["cluster"]
