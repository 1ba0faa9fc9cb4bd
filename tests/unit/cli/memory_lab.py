"""A mirror in a cluster in memory, and the command line on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Change, ConfigMapKey, Edit
from deploy.lifecycle import record
from deploy.manifests.mirror_objects import render_objects, render_secret
from deploy.manifests.model import ClusterSettings
from deploy.manifests.record import MirrorRecord
from deploy.repair import attach as attachment
from deploy.repair.attach import AttachRequest
from tests.kubernetes_api import DirectCluster, MemoryApi
from tests.unit.cli.run_command import CommandResult, run_command


class CommandLab:
    """A cluster in memory with a mirror, and the command line on it."""

    def __init__(self, api: MemoryApi, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = api
        self.cluster = DirectCluster(api)
        self.options: tuple[str, ...] = ("--kubeconfig", str(kubeconfig))
        self._monkeypatch = monkeypatch

    def run(self, *words: str, typed: str | None = None) -> CommandResult:
        return run_command(self._monkeypatch, "mirror", *words, *self.options, typed=typed)

    def install(
        self,
        namespace: str = "pypi-mirror",
        address: str = "10.152.183.50",
        password: str = "x",
    ) -> None:
        """Seed what `mirror up` leaves."""
        settings = ClusterSettings(image="m:1", namespace=namespace, cluster_ip=address)
        for obj in render_objects(settings):
            self.cluster.apply(obj)
        secret = {"root-password": password, "secretfile": password}
        self.cluster.create(render_secret(namespace, secret))
        record.write(self.cluster, namespace, MirrorRecord(cluster_ip=address, image="m:1"))

    def list_ours(self) -> list[str]:
        """Return KIND NAMESPACE/NAME of every object with our label."""
        kinds = (
            *("ConfigMap", "Secret", "Service", "StatefulSet", "DaemonSet", "Deployment"),
            *("NetworkPolicy", "PersistentVolumeClaim", "Namespace", "Lease", "Pod", "Job"),
            *("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"),
        )
        return sorted(
            f"{kind} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
            for kind in kinds
            for obj in self.api.list_objects(kind)
            if (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by")
            == "pypi-mirror"
        )

    def attach(self, name: str, namespace: str = "shop") -> None:
        """Seed a Deployment and attach it."""
        self.api.seed(make_deployment(name, namespace))
        request = AttachRequest(
            names=(f"deployment/{name}",),
            namespace=namespace,
            selector="",
            mirror_namespace="pypi-mirror",
            index=True,
            ndots=True,
        )
        attachment.attach(self.cluster, request, attachment.plan_attach(self.cluster, request))


def make_deployment(name: str, namespace: str = "shop") -> dict[str, Any]:
    containers = [{"name": "app", "image": "shop:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": containers},
            },
        },
    }


def apply_dns_fix(engine: ChangeEngine) -> None:
    """Apply fix dns without its proof, for which the cluster has no CoreDNS."""
    target = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
    edit = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
    with engine.hold_lease():
        for update in engine.plan([Change(target=target, edit=edit, why="no IPv6")]):
            engine.apply(update)
