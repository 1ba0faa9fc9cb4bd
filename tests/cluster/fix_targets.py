"""Objects on an API server for fixes to change, and writers that are killed while they do."""

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
from deploy.fix_registry import load_editors
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
    """The objects, reached by a kubeconfig."""

    kubeconfig: Path

    def connect(self, seconds: float = 60) -> Cluster:
        warnings.simplefilter("ignore")  # the test server has a self-signed certificate
        return Cluster.connect(
            kubeconfig=self.kubeconfig, context=None, deadline=Deadline.after(seconds)
        )

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


def run_killed_at_write(number: int, *, sent: bool, action: Callable[[], None]) -> bool:
    """Run an action in a child process that is killed (SIGKILL) at its number-th write.

    With sent, the child is killed after the write was sent, otherwise before. Returns False if the
    action ended first, because it makes fewer writes.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_at_write(number, sent=sent)
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def _kill_at_write(number: int, *, sent: bool) -> None:
    request, ask_agent = Cluster.request, node_target.ask_agent  # type: ignore[attr-defined]
    count = 0

    def count_write(is_write: bool, send: Callable[[], T]) -> T:
        nonlocal count
        count += is_write
        if is_write and count == number and not sent:
            os.kill(os.getpid(), signal.SIGKILL)
        response = send()
        if is_write and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    def counting_request(self: Cluster, method: str, path: str, **options: Any) -> str:
        # another thread renews the Lease, at times of its own
        is_renewal = threading.current_thread() is not threading.main_thread()
        is_write = method != "GET" and "accessreview" not in path and not is_renewal
        return count_write(is_write, lambda: request(self, method, path, **options))

    def counting_ask_agent(
        cluster: Cluster, pod: str, question: Mapping[str, Any]
    ) -> dict[str, Any]:
        return count_write(question["do"] == "write", lambda: ask_agent(cluster, pod, question))

    Cluster.request = counting_request  # type: ignore[method-assign]
    node_target.ask_agent = counting_ask_agent  # type: ignore[attr-defined, assignment]


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
