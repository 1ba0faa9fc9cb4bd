"""A lab with Calico for tests of node fixes, and snapshots of everything that a fix may change."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import versions
from tests.cluster.lab import Lab
from tests.cluster.waiting import wait_for
from tests.conftest import RunProgram

_DISABLE_IPV6 = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixLab:
    """The lab, the `mirror` command, and an image of the node agent that the nodes have.

    user is the kubeconfig of another user than the admin.
    """

    lab: Lab
    program: RunProgram
    image: str
    user: Path | None = None

    def run_mirror(self, *argv: str, code: int = 0, timeout: float = 800) -> str:
        """Run `mirror`, check its exit code, and return its output (stdout only with `-o json`)."""
        env = {"KUBECONFIG": str(self.user or self.lab.kubeconfig)}
        limit = ("--timeout", "780") if argv[0] in {"fix", "rollback"} else ()
        result = self.program("mirror", *argv, *limit, env=env, timeout=timeout)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout if "json" in argv else result.stdout + result.stderr

    def run_json(self, *argv: str, code: int = 0) -> Any:
        """Run `mirror … -o json`, check its exit code, and return the decoded output."""
        return json.loads(self.run_mirror(*argv, "-o", "json", code=code))

    def fix(self, *argv: str, code: int = 0) -> str:
        """Run `mirror fix` without a prompt, check its exit code, and return its output."""
        return self.run_mirror("fix", *argv, *self._fix_options, code=code)

    @property
    def _fix_options(self) -> tuple[str, ...]:
        return ("--image", self.image, "--name", "index.example", "--yes")

    def lose_node(self, node: str) -> None:
        """Kill a node and wait until the control plane reports it."""
        self.lab.kill_node(node)
        lost = ("wait", "--for=condition=Ready=Unknown", f"node/{node}", "--timeout=300s")
        self.lab.kubectl(*lost, timeout=310)

    def kill_fix_when(self, *argv: str, when: Callable[[], bool]) -> None:
        """Run `mirror fix` and kill it (SIGKILL) as soon as a condition is true."""
        env, quiet = {**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)}, subprocess.DEVNULL
        command = ("mirror", "fix", *argv, *self._fix_options)
        child = subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet)
        try:
            wait_for("the moment to kill `mirror fix`", when, timeout=240)
        finally:
            child.kill()
            child.wait(30)

    def read_fix_states(self) -> dict[str, str]:
        """Return fix → state, as `mirror fix` lists them."""
        report = self.run_json("fix")
        fixes = report["fixes"] if isinstance(report, dict) and "fixes" in report else report
        return {fix["fix"]: fix["state"] for fix in fixes}

    def probe_new_pod(self, node: str) -> Mapping[str, str]:
        """Start a pod on a node and return its IPv6 state and IPv4 connectivity.

        addresses: its IPv6 addresses; disable_ipv6: the kernel setting; ipv4: "connected" if it
        reaches CoreDNS.
        """
        name = f"look-{os.urandom(3).hex()}"
        dns_pod = self.lab.get_items("pod", "-n", "kube-system", "-l", "k8s-app=kube-dns")[0]
        command = ["tail", "-f", "/dev/null"]
        spec = {
            "nodeName": node,
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": versions.BUSYBOX_IMAGE, "command": command}],
        }
        self.lab.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        )
        ready = ("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        try:
            self.lab.kubectl(*ready, timeout=70)
            execute = ("exec", name, "--")
            addresses = self.lab.kubectl(*execute, "ip", "-6", "address")
            connect = f"timeout 5 nc {dns_pod['status']['podIP']} 53 </dev/null && echo connected"
            return {
                "addresses": " ".join(
                    line.split()[1] for line in addresses.splitlines() if "inet6" in line
                ),
                "disable_ipv6": self.lab.kubectl(
                    *execute, "cat", _DISABLE_IPV6.format("all")
                ).strip(),
                "ipv4": self.lab.kubectl(*execute, "sh", "-c", connect).strip(),
            }
        finally:
            self.lab.kubectl("delete", "pod", name, "--now", "--ignore-not-found")

    def read_host(self, node: str) -> Mapping[str, str]:
        """Return everything on a node that a fix may change, byte for byte."""

        def run(*argv: str, check: bool = True) -> str:
            return self.lab.exec(node, *argv, check=check).stdout

        folders = ("/etc/cni", "/etc/sysctl.d", "/etc/sysctl.conf")
        find = ("find", *folders, "-type", "f", "-exec", "sha256sum", "{}", "+")
        checksums = run(*find, check=False).splitlines()
        links = {
            name: run("cat", _DISABLE_IPV6.format(name))
            for name in ("all", "default", "lo", "eth0")
        }
        addresses = run("ip", "-6", "address", "show", "dev", "eth0", "scope", "global")
        routes = run("ip", "-6", "route").splitlines()
        return {
            "files": "\n".join(sorted(line for line in checksums if "kubeconfig" not in line)),
            "links": json.dumps(links),
            # without the link's own line: a boot gives it another peer
            "addresses": "\n".join(
                line.strip() for line in addresses.splitlines() if "inet6" in line
            ),
            "routes": "\n".join(line for line in routes if "cali" not in line),
            "left": run("ls", "-A", "/etc/pypi-mirror", check=False),
        }

    def read_cluster(self) -> Mapping[str, Any]:
        """Return everything in the cluster that a fix may change."""
        config_maps = self.lab.get_items("configmap", "-n", "kube-system")
        pools = self.lab.get_items("ippools.crd.projectcalico.org")
        agents = self.lab.get_items("daemonset", "-A", "-l", "app.kubernetes.io/name=pypi-mirror")
        return {
            "maps": {
                config_map["metadata"]["name"]: config_map.get("data")
                for config_map in config_maps
                if config_map["metadata"]["name"] in ("coredns", "calico-config")
                or "pypi-mirror" in config_map["metadata"]["name"]
            },
            "pools": {pool["metadata"]["name"]: pool["spec"] for pool in pools},
            "calico": self.lab.get("daemonset", "-n", "kube-system", "calico-node")["spec"],
            "agent": [agent["metadata"]["name"] for agent in agents],
        }
