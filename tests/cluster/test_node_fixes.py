"""The fixes of the nodes in a lab as the field has it: Calico, dual stack, no IPv6 outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.manifests.agent import RECONCILER_NAME
from tests.cluster import old_workloads, reconciler_checks, v3_pools
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
def fixable(program: RunProgram) -> Iterator[FixLab]:
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
        with running_lab(options) as up:
            yield FixLab(lab=up, program=program, image=image)
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def before(fixable: FixLab) -> Mapping[str, Any]:
    """The lab before any fix: somebody's own address, route and settings, and a tainted node."""
    run = fixable.lab.exec
    run("babel", "ip", "-6", "address", "add", "fd99::5/64", "dev", "eth0", "nodad")
    run("babel", "ip", "-6", "route", "add", "fd98::/64", "via", "fd99::1", "metric", "77")
    run("babel", "sysctl", "-qw", DISABLE_IPV6.format("default") + "=1")
    lines = "".join(
        f"{DISABLE_IPV6.format(n)}={v}\n" for n, v in (("all", 1), ("default", 1), ("lo", 0))
    )
    run("anubis", "tee", "-a", "/etc/sysctl.conf", stdin=f"# as the runbook left it\n{lines}")
    fixable.lab.kubectl("taint", "node", "babel", "only=mine:NoSchedule", "and=that:NoExecute")
    move_dns_off_ra(fixable)
    hosts = {node: fixable.read_host(node) for node in DEFAULT_NODES}
    return {"hosts": hosts, "cluster": fixable.read_cluster()}


def move_dns_off_ra(fixable: FixLab) -> None:
    """The tests lose ra: the one CoreDNS is not to go with it."""
    kubectl = fixable.lab.kubectl
    kubectl("cordon", "ra")
    kubectl("-n", "kube-system", "delete", "pod", "-l", "k8s-app=kube-dns", timeout=90)
    there = ("rollout", "status", "deployment/coredns", "--timeout=300s")
    kubectl("-n", "kube-system", *there, timeout=310)
    kubectl("uncordon", "ra")


def assert_ipv6_off(fixable: FixLab, *nodes: str) -> None:
    for node in nodes:
        seen = fixable.probe_new_pod(node)
        assert seen["addresses"] == "::1/128", node
        assert seen["off"] == "1", node
        assert seen["four"] == "connected", node
        host = fixable.read_host(node)
        assert json.loads(host["links"])["all"] == "1\n", node
        assert json.loads(host["links"])["lo"] == "0\n", node
        assert host["addresses"] == "", node
        assert "::1/128" in fixable.lab.exec(node, "ip", "-6", "address").stdout


def wait_until_host_is_off(fixable: FixLab, node: str) -> None:
    """By the agent alone, which nobody asks."""
    path = f"/proc/sys/{DISABLE_IPV6.format('all').replace('.', '/')}"
    wait_for(
        f"the agent on {node}",
        lambda: fixable.lab.exec(node, "cat", path).stdout == "1\n",
        timeout=300,
        interval=0.5,
    )


def test_the_lab_is_as_the_field_had_it(fixable: FixLab, before: Mapping[str, Any]) -> None:
    seen = fixable.probe_new_pod("anubis")
    assert "fd70:8823:7283" in seen["addresses"]
    assert seen["off"] == "0"
    assert "fd70:8823:7283" in before["hosts"]["anubis"]["addresses"]
    assert set(before["cluster"]["pools"]) == {"default-ipv4-ippool", IPV6_POOL}


def test_a_pool_in_use_is_not_deleted(fixable: FixLab, before: Mapping[str, Any]) -> None:
    """Who uses it is listed, and nothing is written."""
    said = fixable.fix("ippool", "--delete", code=5)
    assert "kube-system/coredns-" in said
    assert f"has {IPV6_POOL}'s address" in said
    assert fixable.read_cluster() == before["cluster"]


def test_a_plan_names_what_it_would_restart(fixable: FixLab, before: Mapping[str, Any]) -> None:
    """Nothing is restarted by a dry run; kube-system only when it is asked for."""
    old_workloads.start(fixable.lab)
    told = json.loads(fixable.fix("pod-sysctl", "--restart", "all", "--dry-run", "-o", "json"))
    found = {f"{one['namespace']}/{one['name']}": one for one in told["running"]}
    rolled = {name for name, one in found.items() if one["restarts"]}
    assert {"older/web", "older/base", "older/each"} <= rolled
    assert not {name for name in rolled if name.startswith("kube-system/")}
    assert "no workload makes it again" in found["older/alone"]["why_not"]
    assert all(":" in one["addresses"][0] for one in found["older/web"]["pods"])
    assert set.union(*old_workloads.read_disable_ipv6(fixable.lab).values()) == {"0"}


def test_a_node_where_new_pods_do_not_start_goes_back(
    fixable: FixLab, before: Mapping[str, Any]
) -> None:
    """At once, alone, and before the pool is touched."""
    run, plugin = fixable.lab.exec, "/opt/cni/bin/tuning"
    run("babel", "mv", plugin, f"{plugin}.real")
    run("babel", "tee", plugin, stdin="#!/bin/sh\nexit 1\n")
    run("babel", "chmod", "755", plugin)
    said = fixable.fix("pod-sysctl", "ippool", code=1)
    assert "partial: babel was put back as it was" in said
    assert "a new pod does not start on babel" in said
    assert fixable.read_host("babel")["files"] == before["hosts"]["babel"]["files"]
    assert fixable.probe_new_pod("babel")["off"] == "0"
    assert fixable.probe_new_pod("ra")["off"] == "1"
    assert fixable.read_cluster()["pools"] == before["cluster"]["pools"]
    states = fixable.read_fix_states()
    assert (states["pod-sysctl"], states["ippool"]) == ("partial", "partial")
    run("babel", "mv", f"{plugin}.real", plugin)


def test_restart_rolls_workloads_of_older_pods(fixable: FixLab) -> None:
    """Of each kind by its own rollout, chosen by label, then all; a pod alone is only named."""
    named = fixable.fix("pod-sysctl", "--restart", "app=base")
    assert old_workloads.read_disable_ipv6(fixable.lab) == {
        "base": {"1"},
        "web": {"0"},
        "each": {"0"},
        "alone": {"0"},
    }
    assert "older/pod/alone" in named
    told = json.loads(fixable.fix("pod-sysctl", "--restart", "all", "-o", "json"))
    assert {"older/deployment/web", "older/daemonset/each"} <= set(told["restarted"])
    assert "older/statefulset/base" not in told["restarted"], "it has been restarted already"
    assert old_workloads.read_disable_ipv6(fixable.lab) == {
        "base": {"1"},
        "web": {"1"},
        "each": {"1"},
        "alone": {"0"},
    }
    left = {one["name"] for one in told["running"] if one["namespace"] == old_workloads.NAMESPACE}
    assert left == {"alone"}


def test_fix_all_with_a_node_away_killed_and_run_again(
    fixable: FixLab, before: Mapping[str, Any]
) -> None:
    """Pods and hosts have no IPv6 but ::1, the pool is off; the missing node is named."""
    fixable.lose_node("ra")
    if "MIRROR_NODE_KILLS" in os.environ:  # test_node_kills.py has the others
        folder = fixable.lab.site.node_folder("anubis") / "upper/etc/sysctl.d"
        fixable.kill_fix_when("all", when=(folder / "zz-pypi-mirror-ipv6.conf").exists)
        assert fixable.read_fix_states()["host-sysctl"] == "partial"
    assert "is in force, but not on ra" in fixable.fix("all", code=1)
    assert_ipv6_off(fixable, "anubis", "babel")
    assert fixable.read_cluster()["pools"][IPV6_POOL]["disabled"] is True


def test_the_node_is_caught_up_when_it_is_back(fixable: FixLab, before: Mapping[str, Any]) -> None:
    fixable.lab.start_node("ra")
    wait_until_host_is_off(fixable, "ra")
    fixable.fix("all")
    assert_ipv6_off(fixable, "ra")
    assert set(fixable.read_fix_states().values()) == {"applied"}
    now = fixable.read_cluster()
    assert "nothing was written" in fixable.fix("all")
    assert fixable.read_cluster() == now


def test_a_keeper_puts_back_what_something_reverts(
    fixable: FixLab, before: Mapping[str, Any]
) -> None:
    """A Corefile as the add-on has it but for somebody's line, and the pool enabled again; on
    nodes a conflist as it was, and IPv6 turned on.
    """
    lab, original = fixable.lab, before["cluster"]["maps"]["coredns"]["Corefile"]
    fixed, wanted = reconciler_checks.revert_corefile(lab, original)
    assert fixable.read_fix_states()["dns"] == "drifted"
    told = json.loads(fixable.run_mirror("doctor", "--category", "fixes", "-o", "json"))
    mends = {one["command"] for found in told["findings"] for one in found["mends"]}
    assert mends == {"mirror fix search-domains", "mirror fix dns"}
    said = fixable.run_mirror("fix", "--keep", "--image", fixable.image, "-o", "json")
    keeper = json.loads(said)["keeper"]
    file, setting = (
        ("anubis", CONFLIST),
        ("ra", DISABLE_IPV6.format("all")),
    )  # ra was caught up by orders
    assert {f"file {CONFLIST} on node anubis", f"sysctl {setting[1]} on node ra"} <= set(
        keeper["keeps"]
    )
    assert keeper["leaves"] == []
    on_nodes = reconciler_checks.revert_nodes(lab, file, setting)
    reconciler_checks.check_corefile(lab, wanted)
    assert fixable.read_fix_states()["dns"] == "applied"
    reconciler_checks.write_corefile(lab, fixed)
    reconciler_checks.check_pool(lab)
    reconciler_checks.check_nodes(lab, file, setting, on_nodes)
    assert set(fixable.read_fix_states().values()) == {"applied"}


def test_the_keeper_has_no_more_rights_than_it_needs(fixable: FixLab) -> None:
    reconciler_checks.check_rights(fixable.lab)
    assert reconciler_checks.find_pod_security_errors(fixable.lab) == ""


def test_a_keeper_that_was_stopped_is_named(fixable: FixLab) -> None:
    def found() -> list[tuple[str, str]]:
        told = json.loads(fixable.run_mirror("doctor", "--category", "fixes", "-o", "json"))
        return [(one["check"], one["mends"][0]["command"]) for one in told["findings"]]

    fixable.lab.kubectl(
        "-n", "kube-system", "scale", f"deployment/{RECONCILER_NAME}", "--replicas=0"
    )
    assert found() == [("fixes.keeper", "mirror fix --keep")]
    fixable.run_mirror("fix", "--keep", "--image", fixable.image)
    assert found() == []


def restart_calico(fixable: FixLab) -> None:
    """calico-node anew on every node."""
    calico = ("-n", "kube-system", "-l", "k8s-app=calico-node")
    fixable.lab.kubectl("delete", "pod", *calico, timeout=90)
    ready = ("rollout", "status", "daemonset/calico-node", "--timeout=300s")
    fixable.lab.kubectl("-n", "kube-system", *ready, timeout=310)


def test_calico_node_starts_again_everywhere(fixable: FixLab, before: Mapping[str, Any]) -> None:
    """A pool that is disabled stays so; one that is deleted stays away, and new pods start."""
    restart_calico(fixable)
    assert fixable.read_cluster()["pools"] == {
        **before["cluster"]["pools"],
        IPV6_POOL: {**before["cluster"]["pools"][IPV6_POOL], "disabled": True},
    }
    assert_ipv6_off(fixable, *DEFAULT_NODES)
    fixable.fix("all", "--delete", "--force-pool")  # which has calico-node start again
    assert set(fixable.read_cluster()["pools"]) == {"default-ipv4-ippool"}


def test_a_reboot_and_a_node_that_joins(fixable: FixLab, before: Mapping[str, Any]) -> None:
    """The boot alone turns IPv6 off, before any kubelet; nobody asks the new node."""
    booted = fixable.lab.logs_dir / "babel/boot.log"
    fixable.lab.kill_node("babel")
    booted.unlink()
    fixable.lab.start_node("babel")
    wait_for("its boot", lambda: booted.exists() and booted.read_text(), timeout=60)
    addresses = [one.split()[1] for one in booted.read_text().splitlines() if "inet6" in one]
    assert addresses == ["::1/128"]
    fixable.lab.add_node("seth")
    wait_until_host_is_off(fixable, "seth")
    assert_ipv6_off(fixable, *DEFAULT_NODES, "seth")
    assert set(fixable.read_cluster()["pools"]) == {"default-ipv4-ippool"}
    assert set(fixable.read_fix_states().values()) == {"applied"}


def test_rollback_of_all(fixable: FixLab, before: Mapping[str, Any]) -> None:
    """Everything is as it was, byte for byte; on a node that is away, once it is back."""
    fixable.lose_node("ra")
    assert "not rolled back on ra" in fixable.run_mirror("rollback", "--yes", code=1)
    assert fixable.read_host("anubis") == before["hosts"]["anubis"]
    fixable.lab.start_node("ra")
    fixable.run_mirror("rollback", "--yes")
    assert fixable.read_cluster() == before["cluster"]
    for node in DEFAULT_NODES:
        assert fixable.read_host(node) == before["hosts"][node], node
    joined = fixable.read_host("seth")
    assert joined["left"] == ""
    assert "fd70:8823:7283" in joined["addresses"]
    for node in ("ra", "seth"):
        seen = fixable.probe_new_pod(node)
        assert "fd70:8823:7283" in seen["addresses"]
        assert seen["off"] == "0"
    assert reconciler_checks.list_objects(fixable.lab) == "", "the keeper ends with what it keeps"


def test_pools_that_may_be_seen_as_v3_alone(
    fixable: FixLab, before: Mapping[str, Any], tmp_path: Path
) -> None:
    """Disabled by the API that shows them, proved by new pods, and back as it was."""
    with v3_pools.serve_v3_pools(fixable, tmp_path) as newer:
        pools = v3_pools.read_specs(newer)
        assert pools == before["cluster"]["pools"]
        newer.fix("ippool")
        assert v3_pools.read_specs(newer) == {
            **pools,
            IPV6_POOL: {**pools[IPV6_POOL], "disabled": True},
        }
        told = json.loads(newer.run_mirror("status", "-o", "json", code=1))
        assert {one["fix"]: one["state"] for one in told["fixes"]}["ippool"] == "applied"
        newer.run_mirror("rollback", "ippool", "--yes")
        assert v3_pools.read_specs(newer) == pools
    assert fixable.read_cluster() == before["cluster"]
