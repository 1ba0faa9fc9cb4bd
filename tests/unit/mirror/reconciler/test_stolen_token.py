"""What the reconciler's token can do and what it cannot, on an API that checks rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.changes import ledger
from deploy.changes.model import AppliedEdit, ConfigMapKey, Edit, LedgerEntry, ObjectSpec, Target
from deploy.fixes.host_sysctl import render_defaults
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair.reconciler import select_objects
from mirror.merge import encode_spec
from mirror.reconciler.api import ApiStatusError
from mirror.reconciler.reconcile import ObjectReconciler
from tests.cluster.node_fix_cluster import build_calico_objects
from tests.kubernetes_api import CALICO_V1, DirectInClusterClient, MemoryApi
from tests.unit.mirror.test_drift import BASE, WRITTEN

SYSTEM = "/api/v1/namespaces/kube-system"
COREFILE = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
TEMPLATE = ConfigMapKey(namespace="kube-system", name="calico-config", key="cni_network_config")
ORDERS = ConfigMapKey(namespace="kube-system", name="pypi-mirror-node-orders", key="orders.json")
CALICO_NODE = ObjectSpec(kind="DaemonSet", name="calico-node", namespace="kube-system")
POOL = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")


class InstalledReconciler:
    """An API with the fixes, their ledger and the reconciler, which acts with its own token."""

    def __init__(self) -> None:
        self.api = MemoryApi(*CALICO_V1)
        self.api.seed(*build_calico_objects()["items"])
        self._seed_map(COREFILE, BASE.decode())
        self._seed_map(ORDERS, render_defaults())
        pool = self.api.read("IPPool", POOL.name, "")["spec"]
        daemon_set = self.api.read("DaemonSet", "calico-node", "kube-system")["spec"]
        fixed = encode_spec(daemon_set).decode().replace('"autodetect"', '"none"')
        template = self.api.read("ConfigMap", "calico-config", "kube-system")["data"][TEMPLATE.key]
        entries = [
            self.store("dns", COREFILE, BASE, WRITTEN),
            self.store("ippool", TEMPLATE, template.encode(), b"the fix's\nown\n"),
            self.store("host-sysctl", ORDERS, None, render_defaults().encode()),
            self.store("ippool", CALICO_NODE, encode_spec(daemon_set), fixed.encode()),
            self.store("ippool", POOL, encode_spec(pool), encode_spec({**pool, "disabled": True})),
        ]
        objects = select_objects(entries)
        for obj in render_reconciler_objects("mirror:1", objects):
            if obj["kind"] != "Deployment":
                self.api.seed(obj)
        account = self.api.add_service_account("kube-system", "pypi-mirror-keeper")
        self.client = DirectInClusterClient(self.api, account)
        options = [obj.option for obj in objects]
        self.log: list[str] = []
        self.reconciler = ObjectReconciler(
            self.client,
            dict(value.split("=", 1) for name, value in options if name == "--page"),
            self.log.append,
            watched=dict(value.split("=", 1) for name, value in options if name == "--watch"),
        )

    def _seed_map(self, target: ConfigMapKey, text: str) -> None:
        metadata = {"name": target.name, "namespace": target.namespace}
        data = {target.key: text}
        self.api.seed({"kind": "ConfigMap", "metadata": metadata, "data": data})

    def store(
        self, fix: str, target: Target, base: bytes | None, written: bytes | None
    ) -> LedgerEntry:
        """Write an entry of the ledger, as `mirror fix` does, or as somebody forges it."""
        edits = (AppliedEdit(edit=Edit(fix=fix), step=1, steps=1),)
        entry = LedgerEntry(target=target, base=base, edits=edits, written=written)
        self.api.seed(ledger._encode(entry))
        return entry

    def list_messages(self) -> list[str]:
        return [event["message"] for event in self.api.list_objects("Event")]

    def list_patches(self) -> list[str]:
        return [str(r) for r in self.api.requests if r.is_write and "events" not in r.path]


@pytest.fixture
def installed() -> InstalledReconciler:
    return InstalledReconciler()


def test_restores_what_it_may_write_and_reports_the_rest(installed: InstalledReconciler) -> None:
    def tamper(obj: Any) -> None:
        obj["data"]["orders.json"] += "\n"

    installed.api.edit("ConfigMap", "pypi-mirror-node-orders", "kube-system", tamper)
    installed.reconciler.reconcile()
    installed.reconciler.reconcile()
    assert sorted(installed.list_patches()) == [
        "PATCH /api/v1/namespaces/kube-system/configmaps/coredns",
        "PATCH /apis/crd.projectcalico.org/v1/ippools/default-ipv6-ippool",
    ]
    lost = [message for message in installed.list_messages() if "not restored" in message]
    assert len(lost) == 3
    assert all("only a person may restore it" in message for message in lost)
    assert any("run mirror fix host-sysctl" in message for message in lost)
    assert any("by another-client" in message for message in lost)
    assert installed.log == [line for line in installed.log if "403" not in line]


def iterate_attacks() -> Iterator[tuple[str, str, Any]]:
    """Requests with a stolen token: method, path and body."""
    apps, rbac = "/apis/apps/v1/namespaces/kube-system", "/apis/rbac.authorization.k8s.io/v1"
    evil = [{"op": "add", "path": "/data", "value": {"orders.json": "[]"}}]
    yield "PATCH", f"{SYSTEM}/configmaps/pypi-mirror-node-orders", evil
    yield "PATCH", f"{SYSTEM}/configmaps/calico-config", evil
    yield "PATCH", f"{apps}/daemonsets/calico-node", evil
    yield "PATCH", f"{apps}/daemonsets/pypi-mirror-node-agent", evil
    yield "PATCH", f"{apps}/deployments/pypi-mirror-keeper", evil
    yield "PATCH", f"{SYSTEM}/serviceaccounts/pypi-mirror-keeper", evil
    yield "PATCH", "/api/v1/namespaces/kube-system", evil
    yield "PATCH", f"{rbac}/clusterroles/pypi-mirror-keeper", evil
    yield "PATCH", f"{rbac}/namespaces/kube-system/roles/pypi-mirror-keeper", evil
    yield "PATCH", "/apis/crd.projectcalico.org/v1/ippools/another", evil
    yield "POST", f"{SYSTEM}/pods", {"kind": "Pod", "metadata": {"name": "x"}}
    yield "POST", f"{SYSTEM}/configmaps", {"kind": "ConfigMap", "metadata": {"name": "x"}}
    yield "POST", f"{SYSTEM}/pods/pypi-mirror-node-agent-x/exec", {}
    yield "GET", f"{SYSTEM}/secrets", None
    yield "GET", f"{SYSTEM}/configmaps", None
    entry = ledger.config_map_name(COREFILE)
    yield "PATCH", f"{SYSTEM}/configmaps/{entry}", evil
    yield "DELETE", f"{SYSTEM}/configmaps/coredns", None


@pytest.mark.parametrize(
    ("method", "path", "body"), list(iterate_attacks()), ids=lambda value: str(value)[-40:]
)
def test_a_stolen_token_reaches_nothing_else(
    installed: InstalledReconciler, method: str, path: str, body: Any
) -> None:
    before = installed.api.dump()
    content_type = "application/json-patch+json" if method == "PATCH" else "application/json"
    with pytest.raises(ApiStatusError) as error:
        installed.client._request(method, path, body, content_type)
    assert error.value.status == 403
    assert installed.api.dump() == before


@pytest.mark.parametrize(
    "spec",
    [
        {"cidr": "fd00::/8", "disabled": True},
        {"disabled": False},
        {"natOutgoing": True},
        {"nodeSelector": "!all()", "disabled": True},
    ],
)
def test_a_forged_entry_makes_it_write_no_pool(
    installed: InstalledReconciler, spec: dict[str, Any]
) -> None:
    """Whoever writes ConfigMaps in kube-system has no rights over pools, and gets none."""
    pool = installed.api.read("IPPool", POOL.name, "")["spec"]
    installed.store("ippool", POOL, encode_spec(pool), encode_spec({**pool, **spec}))
    installed.reconciler.reconcile()
    assert installed.api.read("IPPool", POOL.name, "")["spec"] == pool
    assert any("is not what a fix makes" in message for message in installed.list_messages())


@pytest.mark.parametrize("content", [b"null", b"[]", b"{", b"5", json.dumps("x").encode()])
def test_a_forged_entry_stops_no_other(installed: InstalledReconciler, content: bytes) -> None:
    installed.store("ippool", POOL, content, content + b" ")
    installed.reconciler.reconcile()
    data = installed.api.read("ConfigMap", "coredns", "kube-system")["data"]
    assert data["Corefile"] == WRITTEN.decode()
