"""A service account of the lab with chosen rights only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from deploy.cluster.client import Cluster
from mirror.core.wait import Deadline
from tests.cluster.kubeconfig import copy_with_token
from tests.cluster.lab import Lab
from tests.cluster.objects import build_cluster_role
from tests.cluster.waiting import wait_for


class LimitedUser:
    """A service account in namespace default, its rights, and a kubeconfig with its token."""

    def __init__(self, lab: Lab, folder: Path, name: str = "limited") -> None:
        self._lab, self._name = lab, name
        lab.kubectl("create", "serviceaccount", name, "-n", "default")
        token = lab.kubectl("create", "token", name, "-n", "default").strip()
        self.kubeconfig = copy_with_token(lab.kubeconfig, folder / name, token)

    def set_rules(self, rules: list[Any]) -> None:
        """Replace the user's rights, without waiting until they apply."""
        subject = {"kind": "ServiceAccount", "name": self._name, "namespace": "default"}
        self._lab.apply(*build_cluster_role(self._name, rules, subject))

    def grant(
        self, rights: Collection[tuple[str, str]], *, others: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Grant these rights in the whole cluster and revoke all others.

        Waits until the API server allows exactly the rights among rights and others: it learns of
        changed roles by a watch. A right is a verb and a resource.
        """
        self.set_rules(
            [{"apiGroups": ["*"], "resources": [what], "verbs": [verb]} for verb, what in rights]
        )
        cluster = self.connect()
        reviewed = {*rights, *others}
        wait_for(
            "the rights to apply",
            lambda: all(
                cluster.is_allowed(*right, "pypi-mirror") == (right in rights) for right in reviewed
            ),
            timeout=60,
        )

    def connect(self) -> Cluster:
        """Return a client that acts as this user."""
        deadline = Deadline.after(30)
        return Cluster.connect(kubeconfig=self.kubeconfig, context=None, deadline=deadline)

    def remove(self) -> None:
        roles = ("clusterrole,clusterrolebinding", self._name, "--ignore-not-found")
        self._lab.kubectl("delete", *roles)
        self._lab.kubectl("delete", "serviceaccount", self._name, "-n", "default")
