"""A lab with Calico on whose nodes fixes are tried: all that a fix may touch, byte for byte."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class FixLab:
    """The lab, the program, and an image of the agent that its nodes have.

    ``user`` is the kubeconfig of somebody else than the admin.
    """

    lab: Lab
    program: RunProgram
    image: str
    user: Path | None = None

    def run_mirror(self, *words: str, code: int = 0, timeout: float = 800) -> str:
        """What `mirror` said; its exit code is checked."""
        env = {"KUBECONFIG": str(self.user or self.lab.kubeconfig)}
        given = ("--timeout", "780") if words[0] in {"fix", "rollback"} else ()
        done = self.program("mirror", *words, *given, env=env, timeout=timeout)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if "json" in words else done.stdout + done.stderr

    def fix(self, *words: str, code: int = 0) -> str:
        return self.run_mirror("fix", *words, *self._given, code=code)

    @property
    def _given(self) -> tuple[str, ...]:
        return ("--image", self.image, "--name", "index.example", "--yes")

    def lose_node(self, node: str) -> None:
        """The node dies, and the control plane has seen it."""
        self.lab.kill_node(node)
        gone = ("wait", "--for=condition=Ready=Unknown", f"node/{node}", "--timeout=300s")
        self.lab.kubectl(*gone, timeout=310)

    def kill_fix_when(self, *words: str, when: Callable[[], bool]) -> None:
        """`mirror fix`, which is killed (SIGKILL) as soon as that is so."""
        env, quiet = {**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)}, subprocess.DEVNULL
        argv = ("mirror", "fix", *words, *self._given)
        child = subprocess.Popen(argv, env=env, stdout=quiet, stderr=quiet)
        try:
            wait_for("the moment to kill it", when, timeout=240)
        finally:
            child.kill()
            child.wait(30)

    def read_fix_states(self) -> dict[str, str]:
        told = json.loads(self.run_mirror("fix", "-o", "json"))
        found = told["fixes"] if isinstance(told, dict) and "fixes" in told else told
        return {one["fix"]: one["state"] for one in found}

    def get(self, *words: str) -> Any:
        return json.loads(self.lab.kubectl("get", *words, "-o", "json"))

    def probe_new_pod(self, node: str) -> Mapping[str, str]:
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

    def read_host(self, node: str) -> Mapping[str, str]:
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
            # not the link's line: a boot gives it another peer
            "addresses": "\n".join(
                line.strip()
                for line in run(
                    node, "ip", "-6", "address", "show", "dev", "eth0", "scope", "global"
                ).stdout.splitlines()
                if "inet6" in line
            ),
            "routes": "\n".join(
                line
                for line in run(node, "ip", "-6", "route").stdout.splitlines()
                if "cali" not in line
            ),
            "left": run(node, "ls", "-A", "/etc/pypi-mirror", check=False).stdout,
        }

    def read_cluster(self) -> Mapping[str, Any]:
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
