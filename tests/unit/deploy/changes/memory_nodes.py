"""Nodes in memory, each with a folder as its host and the real agent's code in its pod."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from tests.kubernetes_api import MemoryApi
from tests.kubernetes_api.failures import When

SYSTEM, AGENT = "kube-system", "pypi-mirror-node-agent"
LABELS = {"app.kubernetes.io/name": "pypi-mirror", "app.kubernetes.io/component": "node-agent"}
COMMAND = ["python3", "-m", "mirror.agent", "serve", "--cni", "/opt/cni/bin"]


class MemoryNodes:
    """Ready nodes with agents. ``disturb`` runs before and after each request to one."""

    def __init__(self, api: MemoryApi, folder: Path, *names: str) -> None:
        self.api, self.hosts = api, {}
        self.requests: list[str] = []
        self.disturb: Callable[[str, When], None] | None = None
        container = {"name": "agent", "image": "mirror:1", "command": COMMAND}
        self._pod_spec = {"containers": [container]}
        template = {"metadata": {"labels": LABELS}, "spec": self._pod_spec}
        spec = {"selector": {"matchLabels": LABELS}, "template": template}
        meta = {"name": AGENT, "namespace": SYSTEM}
        api.seed({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})
        for number, name in enumerate(names):
            self.hosts[name] = make_host(folder / str(number))
            conditions = [{"type": "Ready", "status": "True"}]
            status = {"conditions": conditions, "nodeInfo": {"operatingSystem": "linux"}}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            api.seed({**node, "status": status})
            self.start_agent(name)

    def start_agent(self, node: str) -> None:
        name = f"{AGENT}-{len(self.api.programs)}"
        running = {"name": "agent", "ready": True, "image": "mirror:1", "imageID": "sha256:1"}
        self.api.seed(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": SYSTEM, "labels": LABELS},
                "spec": {**self._pod_spec, "nodeName": node},
                "status": {"containerStatuses": [{**running, "state": {"running": {}}}]},
            }
        )

        def run(argv: list[str], text: str) -> tuple[int, str, str]:
            if not self.api.has("Pod", name, SYSTEM):
                return 1, "", "the pod has ended"
            request = json.loads(text)
            self.requests.append(request["do"])
            if self.disturb:
                self.disturb(node, "before")
            if not self.api.has("Pod", name, SYSTEM):
                return 137, "", ""
            answer = handle_request(self.hosts[node], request)
            if self.disturb:
                self.disturb(node, "after")
            if not self.api.has("Pod", name, SYSTEM):
                return 137, "", ""  # killed before it could print
            return 0, json.dumps(answer), ""

        self.api.programs[SYSTEM, name] = run

    def evict(self, node: str) -> None:
        """End the agent of a node. The DaemonSet starts another one."""
        for pod in self.api.list_objects("Pod"):
            if pod["spec"].get("nodeName") == node:
                self.api.remove("Pod", pod["metadata"]["name"], SYSTEM)
        self.start_agent(node)

    def read_files(self, node: str) -> dict[str, bytes]:
        root = self.hosts[node].root
        found = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return {str(path.relative_to(root)): path.read_bytes() for path in found}


def make_host(root: Path) -> HostPaths:
    for folder in ("etc/cni/net.d", "etc/sysctl.d", "cni"):
        (root / folder).mkdir(parents=True)
    for link in ("all", "default", "lo", "eth0"):
        conf = root / "proc/ipv6/conf" / link
        conf.mkdir(parents=True)
        (conf / "disable_ipv6").write_text("0\n")
    return HostPaths(root=root, net=root / "proc", cni=PurePosixPath("/opt/cni/bin"))
