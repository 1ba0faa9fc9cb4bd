"""A small world on a real API server that fixes change, and writers that are killed in it."""

from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deploy.changes import node_target
from deploy.changes.attachment import plan_attachments
from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix, Refusal
from deploy.changes.model import Change, ConfigMapKey, Edit, Editor, ObjectSpec, Target
from deploy.cluster.client import Cluster
from deploy.registry import load_editors
from mirror.core.wait import Deadline

T = TypeVar("T")

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


def _nothing(*_: Any) -> Refusal:
    return Refusal(reason="a fix of the tests")


REMOVAL = Fix(
    name="removal",
    order=90,
    summary="an object is removed",
    impact="",
    needs=frozenset(),
    plan_changes=_nothing,
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
    """The objects, reached by a kubeconfig."""

    kubeconfig: Path

    def connect(self, seconds: float = 60) -> Cluster:
        warnings.simplefilter("ignore")  # the test server's certificate is its own
        return Cluster.connect(
            kubeconfig=self.kubeconfig, context=None, deadline=Deadline.after(seconds)
        )

    def make_engine(self) -> ChangeEngine:
        return ChangeEngine(self.connect(), FIXES)

    def recreate(self) -> None:
        """All objects as new, and no ledger."""
        cluster = self.connect()
        for one in cluster.list("ConfigMap", "kube-system", labels="app.kubernetes.io/component"):
            cluster.delete("ConfigMap", one["metadata"]["name"], "kube-system")
        cluster.delete("Lease", "pypi-mirror-changes", "kube-system")
        cluster.delete("ConfigMap", "coredns", "kube-system")
        cluster.delete("Deployment", "web", "default")
        cluster.delete("NetworkPolicy", "open", "default")
        for obj in _objects():
            cluster.create(obj)

    def read_corefile(self) -> str:
        found = self.connect().get("ConfigMap", "coredns", "kube-system")
        assert found is not None
        return str(found["data"]["Corefile"])

    def write_corefile(self, text: str) -> None:
        """As somebody else does, who knows nothing of ledgers."""
        cluster = self.connect()
        found = cluster.get("ConfigMap", "coredns", "kube-system")
        assert found is not None
        found["data"] = {"Corefile": text}
        cluster.replace({"apiVersion": "v1", "kind": "ConfigMap", **found})

    def edit_web(self, change: Callable[[Any], None]) -> None:
        cluster = self.connect()
        found = cluster.get("Deployment", "web", "default")
        assert found is not None
        change(found["spec"])
        cluster.replace(found)

    def read_state(self) -> dict[str, Any]:
        """Everything of the world that a person could see, byte for byte."""
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
        """What the engine has left behind: ledger entries and the Lease."""
        cluster = self.connect()
        maps = cluster.list("ConfigMap", "kube-system", labels="app.kubernetes.io/component=ledger")
        lease = cluster.get("Lease", "pypi-mirror-changes", "kube-system")
        return [one["metadata"]["name"] for one in maps] + (["lease"] if lease else [])


def apply_fixes(world: FixTargets, *fixes: str) -> None:
    """Plan and do, as `mirror fix` does."""
    works = world.make_engine()
    with works.hold_lease():
        for step in works.plan([change for fix in fixes for change in CHANGES[fix]]):
            works.apply(step)


def roll_back_fixes(world: FixTargets, *fixes: str, force: bool = False) -> None:
    works = world.make_engine()
    with works.hold_lease():
        for step in works.plan_rollback(fixes):
            works.apply(step, force=force)


def run_killed_at_write(number: int, *, sent: bool, what: Callable[[], None]) -> bool:
    """Do it in a child that is killed (SIGKILL) at its number-th write, before or after sending.

    False where it came to its end, because it has fewer writes.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_at(number, sent=sent)
            what()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def _kill_at(number: int, *, sent: bool) -> None:
    real, ask = Cluster.request, node_target.ask_agent  # type: ignore[attr-defined]
    count = 0

    def counted(writes: bool, send: Callable[[], T]) -> T:
        nonlocal count
        count += writes
        if writes and count == number and not sent:
            os.kill(os.getpid(), signal.SIGKILL)
        told = send()
        if writes and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return told

    def request(self: Cluster, method: str, path: str, **words: Any) -> str:
        renewed = threading.current_thread() is not threading.main_thread()  # the Lease, by time
        writes = method != "GET" and "accessreview" not in path and not renewed
        return counted(writes, lambda: real(self, method, path, **words))

    def asked(cluster: Cluster, pod: str, question: Mapping[str, Any]) -> dict[str, Any]:
        return counted(question["do"] == "write", lambda: ask(cluster, pod, question))

    Cluster.request = request  # type: ignore[method-assign]
    node_target.ask_agent = asked  # type: ignore[attr-defined, assignment]


def _objects() -> list[Any]:
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
