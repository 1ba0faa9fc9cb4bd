"""Objects on an API server, in memory or real, for fixes to change."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.changes.attachment import plan_attachments
from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix, Refusal
from deploy.changes.model import Change, ConfigMapKey, Edit, Editor, ObjectSpec, Target
from deploy.cluster.client import Cluster
from deploy.fix_registry import load_editors
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi

COREFILE = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
WEB_DEPLOYMENT = ObjectSpec(kind="Deployment", namespace="default", name="web")
POLICY = ObjectSpec(kind="NetworkPolicy", namespace="default", name="open")
BASE_COREFILE = """\
# hand-made
.:53 {
    errors
    health
\tready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
    }
    forward . /etc/resolv.conf
    cache 30
    reload
}
"""
SUFFIX = "home.example"


def _remove(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    return None


def _refuse(*_: Any) -> Refusal:
    return Refusal(reason="a fix of the tests")


REMOVAL = Fix(
    name="removal",
    order=90,
    summary="an object is removed",
    impact="",
    needs=frozenset(),
    plan_changes=_refuse,
    edit=_remove,
)
FIXES: Mapping[str, Editor] = {
    **{name: load_editors()[name] for name in ("attach", "search-domains", "dns")},
    "removal": REMOVAL,
}

_DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": True})
_SEARCH = Edit(fix="search-domains", options={"suffixes": [SUFFIX], "keep": []})
CHANGES: Mapping[str, tuple[Change, ...]] = {
    "dns": (Change(target=COREFILE, edit=_DNS, why=""),),
    "search-domains": (Change(target=COREFILE, edit=_SEARCH, why=""),),
    "attach": plan_attachments([WEB_DEPLOYMENT], index=True, ndots=True),
    "removal": (Change(target=POLICY, edit=Edit(fix="removal"), why=""),),
}


@dataclass(frozen=True, slots=True)
class FixTargets:
    """The objects, and how to reach them."""

    connect: Callable[[], Cluster]

    @classmethod
    def of_kubeconfig(cls, kubeconfig: Path) -> FixTargets:
        def connect() -> Cluster:
            warnings.simplefilter("ignore")  # the test server has a self-signed certificate
            return Cluster.connect(kubeconfig=kubeconfig, context=None, deadline=Deadline.after(60))

        return cls(connect)

    @classmethod
    def in_memory(cls, api: MemoryApi) -> FixTargets:
        return cls(partial(DirectCluster, api))

    def make_engine(self) -> ChangeEngine:
        return ChangeEngine(self.connect(), FIXES)

    def recreate(self) -> None:
        """Recreate all objects and delete the ledger."""
        cluster = self.connect()
        for config_map in cluster.list(
            "ConfigMap", "kube-system", labels="app.kubernetes.io/component"
        ):
            cluster.delete("ConfigMap", config_map["metadata"]["name"], "kube-system")
        cluster.delete("Lease", "pypi-mirror-changes", "kube-system")
        cluster.delete("ConfigMap", "coredns", "kube-system")
        cluster.delete("Deployment", "web", "default")
        cluster.delete("NetworkPolicy", "open", "default")
        for obj in _build_objects():
            cluster.create(obj)

    def read_corefile(self) -> str:
        config_map = self.connect().get("ConfigMap", "coredns", "kube-system")
        assert config_map is not None
        return str(config_map["data"]["Corefile"])

    def write_corefile(self, text: str) -> None:
        """Write the Corefile as another program would, without the ledger."""
        cluster = self.connect()
        config_map = cluster.get("ConfigMap", "coredns", "kube-system")
        assert config_map is not None
        config_map["data"] = {"Corefile": text}
        cluster.replace({"apiVersion": "v1", "kind": "ConfigMap", **config_map})

    def edit_web(self, edit: Callable[[Any], None]) -> None:
        """Edit the spec of Deployment web in place."""
        cluster = self.connect()
        deployment = cluster.get("Deployment", "web", "default")
        assert deployment is not None
        edit(deployment["spec"])
        cluster.replace(deployment)

    def read_state(self) -> dict[str, Any]:
        """Return the state of all objects, byte for byte."""
        cluster = self.connect()
        web = cluster.get("Deployment", "web", "default")
        policy = cluster.get("NetworkPolicy", "open", "default")
        assert web is not None
        return {
            "corefile": self.read_corefile(),
            "web": json.dumps(web["spec"], sort_keys=True),
            "policy": policy and (policy["spec"], policy["metadata"].get("labels")),
        }

    def list_leftovers(self) -> list[str]:
        """Return what the engine has left: the names of ledger entries, and "lease"."""
        cluster = self.connect()
        entries = cluster.list(
            "ConfigMap", "kube-system", labels="app.kubernetes.io/component=ledger"
        )
        lease = cluster.get("Lease", "pypi-mirror-changes", "kube-system")
        return [config_map["metadata"]["name"] for config_map in entries] + (
            ["lease"] if lease else []
        )


def apply_fixes(targets: FixTargets, *fixes: str) -> None:
    """Plan and apply fixes, as `mirror fix` does."""
    engine = targets.make_engine()
    with engine.hold_lease():
        for step in engine.plan([change for fix in fixes for change in CHANGES[fix]]):
            engine.apply(step)


def roll_back_fixes(targets: FixTargets, *fixes: str, force: bool = False) -> None:
    """Roll back fixes, as `mirror rollback` does."""
    engine = targets.make_engine()
    with engine.hold_lease():
        for step in engine.plan_rollback(fixes):
            engine.apply(step, force=force)


def _build_objects() -> list[Any]:
    labels = {"app": "web"}
    container = {"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": BASE_COREFILE},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "open", "namespace": "default", "labels": {"keep": "me"}},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
        },
    ]


class OtherEditor:
    """Edits the Corefile as people do, with a mark per edit, and knows the expected result."""

    def __init__(self, targets: FixTargets, dice: random.Random) -> None:
        self.targets = targets
        self.dice = dice
        self.base = BASE_COREFILE
        self.marks: list[str] = []

    def add_line(self) -> None:
        """Add a line after one that no fix wrote, to the Corefile and to the expected result."""
        mark = f"    # edit {len(self.marks)}"
        candidates = [line for line in BASE_COREFILE.splitlines() if line.strip().strip("{}")]
        anchors = [line for line in candidates if "forward" not in line]
        anchor = self.dice.choice(anchors)
        for text in (self.targets.read_corefile(), self.base):
            lines = text.splitlines(keepends=True)
            index = lines.index(anchor + "\n") + 1
            edited = "".join([*lines[:index], mark + "\n", *lines[index:]])
            if text == self.base:
                self.base = edited
            if text == self.targets.read_corefile():
                self.targets.write_corefile(edited)
        self.marks.append(mark)

    def revert(self) -> None:
        """Write the Corefile without any fix, as an add-on does that restores its own."""
        self.targets.write_corefile(self.base)

    def check(self) -> None:
        """Check that the Corefile has all edits."""
        text = self.targets.read_corefile()
        assert [mark for mark in self.marks if mark not in text] == []
