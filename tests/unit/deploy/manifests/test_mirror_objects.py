"""The mirror's objects, as plain data."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from deploy.manifests.mirror_objects import render_environment_map, render_objects
from deploy.manifests.model import ClusterSettings
from deploy.manifests.pods import render_probe_pod
from mirror.settings import Endpoint

SETTINGS = ClusterSettings(image="pypi-mirror:1", cluster_cidrs=("10.1.0.0/16", "10.152.183.0/24"))


def by_kind(settings: ClusterSettings) -> dict[str, dict[str, Any]]:
    return {obj["kind"]: obj for obj in render_objects(settings)}


def test_the_order_of_application() -> None:
    kinds = [obj["kind"] for obj in render_objects(SETTINGS)]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "StatefulSet"


def test_the_same_settings_give_the_same_objects() -> None:
    assert json.dumps(render_objects(SETTINGS)) == json.dumps(render_objects(SETTINGS))


def pods() -> list[dict[str, Any]]:
    template = by_kind(SETTINGS)["StatefulSet"]["spec"]["template"]["spec"]
    probe = render_probe_pod(SETTINGS, name="p", node="anubis", command=["true"])["spec"]
    return [template, probe]


@pytest.mark.parametrize("spec", pods(), ids=["mirror", "probe"])
def test_every_pod_passes_pod_security_restricted(spec: dict[str, Any]) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]
    assert not spec.get("hostNetwork") and not spec.get("hostPID")
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


@pytest.mark.parametrize("spec", pods(), ids=["mirror", "probe"])
def test_no_search_domain_can_break_our_own_pods(spec: dict[str, Any]) -> None:
    assert spec["dnsConfig"] == {"options": [{"name": "ndots", "value": "1"}]}


def test_the_mirror_reaches_nothing_inside() -> None:
    egress = by_kind(SETTINGS)["NetworkPolicy"]["spec"]["egress"]
    (outside,) = [rule["to"][0]["ipBlock"] for rule in egress if "to" in rule]
    assert outside["except"] == ["10.1.0.0/16", "10.152.183.0/24", "169.254.0.0/16"]


def test_the_service_is_ipv4_only_and_asks_for_its_address() -> None:
    spec = by_kind(SETTINGS)["Service"]["spec"]
    assert spec["ipFamilyPolicy"] == "SingleStack"
    assert "clusterIP" not in spec
    again = ClusterSettings(image="x", cluster_ip="10.152.183.7")
    assert by_kind(again)["Service"]["spec"]["clusterIP"] == "10.152.183.7"


def test_a_changed_configuration_restarts_the_pod() -> None:
    def digest(settings: ClusterSettings) -> str:
        template = by_kind(settings)["StatefulSet"]["spec"]["template"]
        return str(template["metadata"]["annotations"])

    assert digest(SETTINGS) == digest(SETTINGS)
    assert digest(SETTINGS) != digest(ClusterSettings(image="pypi-mirror:1", port=3200))
    assert digest(SETTINGS) != digest(ClusterSettings(image="pypi-mirror:1", ca_pem="x"))


def test_probes_never_ask_devpi_once_it_has_started() -> None:
    spec = by_kind(SETTINGS)["StatefulSet"]["spec"]["template"]["spec"]
    containers = {one["name"]: one for one in spec["containers"]}
    assert set(containers["devpi"]) & {"livenessProbe", "readinessProbe"} == set()
    for probe in ("livenessProbe", "readinessProbe"):
        assert containers["front"][probe]["httpGet"]["path"] == "/healthz"


def test_the_environment_for_gitops_has_no_namespace() -> None:
    endpoint = Endpoint(address=IPv4Address("10.152.183.7"))
    assert "namespace" not in render_environment_map(None, endpoint)["metadata"]
    assert render_environment_map("chronicle", endpoint)["metadata"]["namespace"] == "chronicle"
