"""Where the Corefile is found, and what is read with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.coredns import read_coredns, read_corefile

COREFILE = ".:53 {\n    import /etc/coredns/custom/*.override\n    forward . 10.9.0.2\n}\n"
LABELS = {"k8s-app": "dns-coredns"}


class Objects:
    """The objects of kube-system; ``denied`` kinds answer 403."""

    def __init__(self, *objects: dict[str, Any], denied: tuple[str, ...] = ()) -> None:
        self._objects = objects
        self._denied = denied

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        found = [obj for obj in self.list(kind) if obj["metadata"]["name"] == name]
        return found[0] if found else None

    def list(self, kind: str, namespace: str | None = None, **_: Any) -> list[dict[str, Any]]:
        if kind in self._denied:
            raise ApiError(403, "Forbidden", "denied", what="denied", next_step="")
        return [obj for obj in self._objects if obj["kind"] == kind]


def new_config_map(name: str, text: str = COREFILE, **metadata: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"Corefile": text}}


def new_workload(kind: str, name: str, config_map: str, labels: Mapping[str, str]) -> Any:
    container = {
        "name": "coredns",
        "env": [{"name": "DNS_PORT", "value": "53"}, {"name": "POD", "valueFrom": {}}],
    }
    volumes = [{"name": "empty", "emptyDir": {}}, {"configMap": {"name": config_map}}]
    spec = {"containers": [container], "volumes": volumes}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": {"template": template}}


def new_service(name: str, selector: Mapping[str, str], port: int = 53) -> dict[str, Any]:
    ports = [{"port": port, "protocol": "UDP"}]
    spec = {"clusterIP": "10.96.0.10", "selector": selector, "ports": ports}
    return {"kind": "Service", "metadata": {"name": name}, "spec": spec}


def read(*objects: dict[str, Any], denied: tuple[str, ...] = ()) -> Any:
    return read_coredns(cast(Cluster, Objects(*objects, denied=denied)))


@pytest.mark.parametrize("service", ["kube-dns", "dns-coredns"])
def test_finds_the_corefile_that_the_pods_of_the_dns_service_mount(service: str) -> None:
    coredns = read(
        new_config_map("coredns", "stale"),
        new_config_map("dns-coredns"),
        new_workload("Deployment", "dns-coredns", "dns-coredns", LABELS | {"pod": "1"}),
        new_workload("DaemonSet", "other", "coredns", {"k8s-app": "other"}),
        new_service(service, LABELS),
        new_service("metrics", {"k8s-app": "other"}, port=9153),
    )
    assert (coredns.name, coredns.workload) == ("dns-coredns", "Deployment/dns-coredns")
    assert coredns.text == COREFILE
    assert coredns.environment == {"DNS_PORT": "53"}


def test_takes_the_config_map_of_a_known_name_without_a_workload() -> None:
    coredns = read(new_config_map("rke2-coredns-rke2-coredns"), denied=("Deployment", "DaemonSet"))
    assert (coredns.name, coredns.workload) == ("rke2-coredns-rke2-coredns", "")


def test_two_services_for_dns_are_no_sign() -> None:
    coredns = read(
        new_config_map("dns-coredns"),
        new_workload("Deployment", "dns-coredns", "dns-coredns", LABELS),
        new_service("one", LABELS),
        new_service("two", LABELS),
    )
    assert coredns is None


def test_reads_the_corefile_alone_from_the_same_place() -> None:
    objects = Objects(
        new_config_map("coredns", "stale"),
        new_config_map("dns-coredns"),
        new_workload("Deployment", "dns-coredns", "dns-coredns", LABELS),
        new_service("kube-dns", LABELS),
    )
    found = read_corefile(cast(Cluster, objects))
    assert found is not None
    assert (found.namespace, found.name, found.text) == ("kube-system", "dns-coredns", COREFILE)


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        (COREFILE, True),
        (".:53 {\n    import custom/*.override\n}\n", True),
        ("(all) {\n    import custom/*.override\n}\n.:53 {\n    import all\n}\n", True),
        (".:53 {\n    # import /etc/coredns/custom/*.override\n}\n", False),
        (".:53 {\n    import /etc/coredns/custom/*.server\n}\n", False),
        ("lab.example:53 {\n    import /etc/coredns/custom/*.override\n}\n.:53 {\n}\n", False),
        (".:53 {\n    import /etc/coredns/custom/*.override\n", False),
    ],
)
def test_knows_whether_overrides_are_imported(text: str, imports: bool) -> None:
    assert read(new_config_map("coredns", text)).imports is imports


def test_names_the_owner_by_the_marks_of_the_config_map() -> None:
    marks = {"objectset.rio.cattle.io/owner-name": "coredns"}
    assert read(new_config_map("coredns", annotations=marks)).owner == "k3s"
