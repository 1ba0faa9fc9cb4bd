"""A user of the cluster with chosen rights only."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from deploy.cluster.client import Cluster
from deploy.lifecycle.preflight import REQUIRED_PERMISSIONS, Requirements, check_cluster
from mirror.core.wait import Deadline
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.waiting import wait_for


class LimitedUser:
    """A user with chosen rights only."""

    def __init__(self, mirrored: MirrorLab, folder: Path) -> None:
        self._lab = mirrored.lab
        self.kubeconfig = folder / "limited"
        self._lab.kubectl("create", "serviceaccount", "limited", "-n", "default")
        token = self._lab.kubectl("create", "token", "limited", "-n", "default").strip()
        config = yaml.safe_load(mirrored.lab.kubeconfig.read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def allow(self, rights: list[tuple[str, str, bool]]) -> None:
        """These rights, in the whole cluster, and no others."""
        rules = [
            {"apiGroups": ["*"], "resources": [resource], "verbs": [verb]}
            for verb, resource, _ in rights
        ]
        meta = {"name": "limited"}
        api = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
        binding = {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "limited"},
            "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": "default"}],
        }
        for obj in (role, binding):
            self._lab.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        wait_for("the rights", lambda: self._as_allowed(rights), timeout=60)

    def _as_allowed(self, rights: list[tuple[str, str, bool]]) -> bool:
        """The authorizer reads roles by a watch: wait until it has seen this one."""
        cluster = self._connect()
        asked = {*REQUIRED_PERMISSIONS, *rights}
        return all(cluster.is_allowed(*one[:2], "pypi-mirror") == (one in rights) for one in asked)

    def _connect(self) -> Cluster:
        return Cluster.connect(
            kubeconfig=self.kubeconfig, context=None, deadline=Deadline.after(30)
        )

    def run_preflight(self) -> None:
        """What `mirror up` checks before it writes."""
        wanted = Requirements(namespace="pypi-mirror", storage_class=None, size="1Gi", node=None)
        check_cluster(self._connect(), wanted)

    def remove(self) -> None:
        self._lab.kubectl("delete", "clusterrole,clusterrolebinding", "limited")
        self._lab.kubectl("delete", "serviceaccount", "limited", "-n", "default")
