"""A small cluster in memory with a node, CoreDNS and workloads, and the command line on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.lifecycle import connect
from tests.kubernetes_api import MemoryApi, ServedApi, User, serve_api
from tests.kubernetes_api.controllers import bind_claims, finish_namespaces, roll_out_workloads
from tests.unit.cli.memory_lab import CommandLab

HEALTHY = json.loads((Path(__file__).parents[1] / "cases/checks/whole/evidence.json").read_text())
COREFILE = ".:53 {\n    errors\n    forward . 9.9.9.9\n    reload\n}\n"


class WholeClusterLab(CommandLab):
    """The cluster, and `mirror` with its kubeconfig."""

    def __init__(self, served: ServedApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.served = served
        self.kubeconfig = served.write_kubeconfig(folder / "config")
        super().__init__(served.api, self.kubeconfig, monkeypatch)

    def log_in(self, user: User) -> None:
        """Run what follows as another user."""
        served = self.served.write_kubeconfig(self.kubeconfig, user)
        self.options = ("--kubeconfig", str(served))

    def list_writes_of(self, *words: str, typed: str | None = None) -> list[str]:
        """Run `mirror`; return what it wrote. It must succeed."""
        start = len(self.api.list_writes())
        result = self.run(*words, typed=typed)
        assert result.code == 0, result.out + result.err
        return self.api.list_writes()[start:]


@contextmanager
def run_whole_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeClusterLab]:
    """Serve the cluster; its node is Ready, and workloads roll out at once."""
    monkeypatch.setattr(connect, "_DIRECT_SECONDS", 0.01)
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    api = MemoryApi()
    api.after_write += [finish_namespaces, bind_claims, roll_out_workloads, end_probe_pods]
    for name in ("kube-system", "shop", "default"):
        if not api.has("Namespace", name):
            api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.seed(*render_cluster())
    with serve_api(api) as served:
        yield WholeClusterLab(served, folder, monkeypatch)


def end_probe_pods(api: MemoryApi) -> None:
    """End the mirror's probe pods: each prints what a healthy pod sees of its network."""
    for pod in api.list_objects("Pod"):
        metadata = pod["metadata"]
        is_probe = metadata["name"].startswith(("pypi-mirror-doctor-", "pypi-mirror-probe-"))
        if not is_probe or pod.get("status", {}).get("phase") == "Succeeded":
            continue
        name, namespace = metadata["name"], metadata["namespace"]
        ended = {"name": "probe", "state": {"terminated": {"exitCode": 0}}}
        pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
        api.store.put(api.find_resource(pod), pod)
        for container in pod["spec"]["containers"]:
            api.logs[namespace, name, container["name"]] = json.dumps(HEALTHY["pod_dns"][0]["view"])


def render_cluster() -> list[dict[str, Any]]:
    """Return a node, a storage class, CoreDNS and a workload."""
    system = {"namespace": "kube-system"}
    node_status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}],
        "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux"},
    }
    default_class = {"storageclass.kubernetes.io/is-default-class": "true"}
    return [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "ra"}, "status": node_status},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "fast", "annotations": default_class},
            "provisioner": "example.com/fast",
            "allowVolumeExpansion": True,
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", **system},
            "data": {"Corefile": COREFILE},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", **system},
            "spec": {"clusterIP": "10.152.183.10", "selector": {"k8s-app": "kube-dns"},
                     "ports": [{"port": 53, "protocol": "UDP"}]},
        },
        render_deployment("coredns", "kube-system", {"k8s-app": "kube-dns"}),
        render_deployment("backend", "shop", {"app": "backend"}),
        render_deployment("attached", "shop", {"app": "attached"}),
    ]  # fmt: skip


def render_deployment(
    name: str, namespace: str, labels: dict[str, str], env: tuple[dict[str, str], ...] = ()
) -> dict[str, Any]:
    """Return a Deployment of one container."""
    container: dict[str, Any] = {"name": "app", "image": "shop:1"}
    if env:
        container["env"] = list(env)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
