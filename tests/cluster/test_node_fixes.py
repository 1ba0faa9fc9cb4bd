"""The fixes of the nodes in a lab as the field has it: Calico, dual stack, no IPv6 outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import kept, older, versions
from tests.cluster.agent_image import ensure_agent_archive
from tests.cluster.fixtures import CANNOT_START, give_up
from tests.cluster.lab import Lab, lab
from tests.cluster.options import LabOptions
from tests.conftest import Run

pytestmark = pytest.mark.cluster

CONFLIST = "/etc/cni/net.d/10-calico.conflist"
OFF = "net.ipv6.conf.{}.disable_ipv6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixable:
    """The lab, the program, and an image of the agent that its nodes have."""

    lab: Lab
    program: Run
    image: str

    def mirror(self, *words: str, code: int = 0, timeout: float = 400) -> str:
        """What `mirror` said; its exit code is checked."""
        env = {"KUBECONFIG": str(self.lab.kubeconfig)}
        done = self.program("mirror", *words, env=env, timeout=timeout)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if "json" in words else done.stdout + done.stderr

    def fix(self, *words: str, code: int = 0) -> str:
        given = ("--image", self.image, "--name", "index.example", "--yes")
        return self.mirror("fix", *words, *given, code=code)

    def states(self) -> dict[str, str]:
        told = json.loads(self.mirror("fix", "-o", "json"))
        found = told["fixes"] if isinstance(told, dict) and "fixes" in told else told
        return {one["fix"]: one["state"] for one in found}

    def get(self, *words: str) -> Any:
        return json.loads(self.lab.kubectl("get", *words, "-o", "json"))

    def new_pod(self, node: str) -> Mapping[str, str]:
        """What a pod that starts there now has of IPv6, and whether it reaches another by IPv4."""
        name = f"look-{os.urandom(3).hex()}"
        dns = self.lab.kubectl(
            "get",
            "pod",
            "-n",
            "kube-system",
            "-l",
            "k8s-app=kube-dns",
            "-o",
            "jsonpath={.items[0].status.podIP}",
        )
        spec = {
            "nodeName": node,
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "image": versions.BUSYBOX_IMAGE,
                    "command": ["tail", "-f", "/dev/null"],
                }
            ],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        try:
            self.lab.kubectl(
                "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", timeout=70
            )
            inside = ("exec", name, "--")
            shown = self.lab.kubectl(*inside, "ip", "-6", "address")
            return {
                "addresses": " ".join(
                    line.split()[1] for line in shown.splitlines() if "inet6" in line
                ),
                "off": self.lab.kubectl(
                    *inside, "cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6"
                ).strip(),
                "four": self.lab.kubectl(
                    *inside, "sh", "-c", f"timeout 5 nc {dns} 53 </dev/null && echo connected"
                ).strip(),
            }
        finally:
            self.lab.kubectl("delete", "pod", name, "--now", "--ignore-not-found")

    def host(self, node: str) -> Mapping[str, str]:
        """Everything of a node that a fix may touch, byte for byte."""
        run = self.lab.exec
        listing = run(
            node,
            "find",
            "/etc/cni",
            "/etc/sysctl.d",
            "/etc/sysctl.conf",
            "-type",
            "f",
            "-exec",
            "sha256sum",
            "{}",
            "+",
            check=False,
        ).stdout
        links = {
            name: run(node, "cat", f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").stdout
            for name in ("all", "default", "lo", "eth0")
        }
        return {
            "files": "\n".join(
                sorted(line for line in listing.splitlines() if "kubeconfig" not in line)
            ),
            "links": json.dumps(links),
            "addresses": run(
                node, "ip", "-6", "address", "show", "dev", "eth0", "scope", "global"
            ).stdout,
            "routes": "\n".join(
                line
                for line in run(node, "ip", "-6", "route").stdout.splitlines()
                if "cali" not in line
            ),
            "left": run(node, "ls", "-A", "/etc/pypi-mirror", check=False).stdout,
        }

    def cluster(self) -> Mapping[str, Any]:
        """Everything of the cluster that a fix may touch."""
        keys = self.get("configmap", "-n", "kube-system")["items"]
        pools = self.get("ippools.crd.projectcalico.org")["items"]
        daemon = self.get("daemonset", "-n", "kube-system", "calico-node")
        return {
            "maps": {
                one["metadata"]["name"]: one.get("data")
                for one in keys
                if one["metadata"]["name"] in ("coredns", "calico-config")
                or "pypi-mirror" in one["metadata"]["name"]
            },
            "pools": {one["metadata"]["name"]: one["spec"] for one in pools},
            "calico": daemon["spec"],
            "agent": [
                one["metadata"]["name"]
                for one in self.get("daemonset", "-A", "-l", "app.kubernetes.io/name=pypi-mirror")[
                    "items"
                ]
            ],
        }


@pytest.fixture(scope="module")
def fixable(program: Run) -> Iterator[Fixable]:
    options = LabOptions(
        name=f"calico-{os.getpid()}", poisoned=True, aaaa=True, no_ipv6_route=True, calico=True
    )
    archive, image = ensure_agent_archive()
    try:
        with lab(options) as up:
            up.load_image(archive)
            yield Fixable(lab=up, program=program, image=image)
    except CANNOT_START as error:
        give_up(error)


@pytest.fixture(scope="module")
def before(fixable: Fixable) -> Mapping[str, Any]:
    """The lab before any fix, with a static address and route of somebody's own."""
    run = fixable.lab.exec
    run("babel", "ip", "-6", "address", "add", "fd99::5/64", "dev", "eth0", "nodad")
    run("babel", "ip", "-6", "route", "add", "fd98::/64", "via", "fd99::1", "metric", "77")
    run("babel", "sysctl", "-qw", OFF.format("default") + "=1")
    run("ra", "tee", "-a", "/etc/sysctl.conf", stdin="# mine\nnet.ipv6.conf.all.disable_ipv6=1\n")
    hosts = {node: fixable.host(node) for node in fixable.lab.nodes}
    return {"hosts": hosts, "cluster": fixable.cluster()}


def test_the_lab_is_as_the_field_had_it(fixable: Fixable, before: Mapping[str, Any]) -> None:
    seen = fixable.new_pod("anubis")
    assert "fd70:8823:7283" in seen["addresses"]
    assert seen["off"] == "0"
    assert "fd70:8823:7283" in before["hosts"]["anubis"]["addresses"]
    assert set(before["cluster"]["pools"]) == {"default-ipv4-ippool", "default-ipv6-ippool"}


def test_a_plan_names_what_it_would_restart(fixable: Fixable, before: Mapping[str, Any]) -> None:
    """Nothing is restarted by a dry run; kube-system only when it is asked for."""
    older.start(fixable.lab)
    told = json.loads(fixable.fix("pod-sysctl", "--restart", "all", "--dry-run", "-o", "json"))
    found = {f"{one['namespace']}/{one['name']}": one for one in told["running"]}
    rolled = {name for name, one in found.items() if one["restarts"]}
    assert {"older/web", "older/base", "older/each"} <= rolled
    assert not {name for name in rolled if name.startswith("kube-system/")}
    assert "no workload makes it again" in found["older/alone"]["why_not"]
    assert all(":" in one["addresses"][0] for one in found["older/web"]["pods"])
    assert set.union(*older.off(fixable.lab).values()) == {"0"}


def off_everywhere(fixable: Fixable, nodes: tuple[str, ...]) -> None:
    for node in nodes:
        seen = fixable.new_pod(node)
        assert seen["addresses"] == "::1/128", node
        assert seen["off"] == "1", node
        assert seen["four"] == "connected", node
        host = fixable.host(node)
        assert json.loads(host["links"])["all"] == "1\n", node
        assert json.loads(host["links"])["lo"] == "0\n", node
        assert host["addresses"] == "", node
        assert "::1/128" in fixable.lab.exec(node, "ip", "-6", "address").stdout


def test_fix_all(fixable: Fixable, before: Mapping[str, Any]) -> None:
    """Pods and hosts have no IPv6 but ::1; the pool is off."""
    fixable.fix("all")
    off_everywhere(fixable, ("anubis", "babel", "ra"))
    assert fixable.cluster()["pools"]["default-ipv6-ippool"]["disabled"] is True
    assert set(fixable.states().values()) == {"applied"}


def test_a_second_run_writes_nothing(fixable: Fixable) -> None:
    now = fixable.cluster()
    assert "nothing was written" in fixable.fix("all")
    assert fixable.cluster() == now


def test_restart_rolls_workloads_of_older_pods(fixable: Fixable) -> None:
    """Of each kind by its own rollout, chosen by label, then all; a pod alone is only named."""
    named = fixable.fix("pod-sysctl", "--restart", "app=base")
    assert older.off(fixable.lab) == {"base": {"1"}, "web": {"0"}, "each": {"0"}, "alone": {"0"}}
    assert "older/pod/alone" in named
    told = json.loads(fixable.fix("pod-sysctl", "--restart", "all", "-o", "json"))
    assert {"older/deployment/web", "older/daemonset/each"} <= set(told["restarted"])
    assert "older/statefulset/base" not in told["restarted"], "it has been restarted already"
    assert older.off(fixable.lab) == {"base": {"1"}, "web": {"1"}, "each": {"1"}, "alone": {"0"}}
    left = {one["name"] for one in told["running"] if one["namespace"] == older.SPACE}
    assert left == {"alone"}


def test_a_keeper_puts_back_what_something_reverts(
    fixable: Fixable, before: Mapping[str, Any]
) -> None:
    """A Corefile as the add-on has it but for somebody's line, and the pool enabled again."""
    lab, original = fixable.lab, before["cluster"]["maps"]["coredns"]["Corefile"]
    fixed, wanted = kept.revert_corefile(lab, original)
    assert fixable.states()["dns"] == "drifted"
    told = json.loads(fixable.mirror("doctor", "--category", "fixes", "-o", "json"))
    mends = {one["command"] for found in told["findings"] for one in found["mends"]}
    assert mends == {"mirror fix search-domains", "mirror fix dns"}
    fixable.mirror("fix", "--keep", "--image", fixable.image)
    kept.check_corefile(lab, wanted)
    assert fixable.states()["dns"] == "applied"
    kept.write_corefile(lab, fixed)
    kept.check_pool(lab)


def test_the_keeper_has_no_more_rights_than_it_needs(fixable: Fixable) -> None:
    kept.check_rights(fixable.lab)
    assert kept.refused_by_pod_security(fixable.lab) == ""


def test_rollback_of_all(fixable: Fixable, before: Mapping[str, Any]) -> None:
    """Everything is as it was, byte for byte."""
    fixable.mirror("rollback", "--yes")
    assert fixable.cluster() == before["cluster"]
    for node in ("anubis", "babel", "ra"):
        assert fixable.host(node) == before["hosts"][node], node
    seen = fixable.new_pod("ra")
    assert "fd70:8823:7283" in seen["addresses"]
    assert seen["off"] == "0"
    assert kept.left(fixable.lab) == "", "the keeper ends with what it keeps"
