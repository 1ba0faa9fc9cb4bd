"""The mirror's objects as rendered."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from deploy.manifests.mirror_objects import render_environment_map, render_objects
from deploy.manifests.model import ClusterSettings
from deploy.manifests.pods import render_probe_pod
from mirror.settings import Endpoint

SETTINGS = ClusterSettings(image="pypi-mirror:1", cluster_cidrs=("10.1.0.0/16", "10.152.183.0/24"))


def render_by_kind(settings: ClusterSettings) -> dict[str, dict[str, Any]]:
    return {obj["kind"]: obj for obj in render_objects(settings)}


def test_applies_the_namespace_first_and_the_pod_last() -> None:
    kinds = [obj["kind"] for obj in render_objects(SETTINGS)]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "StatefulSet"


def test_renders_the_same_objects_from_the_same_settings() -> None:
    assert json.dumps(render_objects(SETTINGS)) == json.dumps(render_objects(SETTINGS))


def render_pod_specs() -> list[dict[str, Any]]:
    template = render_by_kind(SETTINGS)["StatefulSet"]["spec"]["template"]["spec"]
    probe = render_probe_pod(SETTINGS, name="p", node="anubis", command=["true"])["spec"]
    return [template, probe]


@pytest.mark.parametrize("spec", render_pod_specs(), ids=["mirror", "probe"])
def test_meets_pod_security_restricted(spec: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("spec", render_pod_specs(), ids=["mirror", "probe"])
def test_resolves_names_without_search_domains_first(spec: dict[str, Any]) -> None:
    assert spec["dnsConfig"] == {"options": [{"name": "ndots", "value": "1"}]}


def test_forbids_connections_into_the_cluster() -> None:
    egress = render_by_kind(SETTINGS)["NetworkPolicy"]["spec"]["egress"]
    (block,) = [rule["to"][0]["ipBlock"] for rule in egress if "to" in rule]
    assert block["except"] == ["10.1.0.0/16", "10.152.183.0/24", "169.254.0.0/16"]


def test_requests_an_ipv4_service_at_the_recorded_address() -> None:
    spec = render_by_kind(SETTINGS)["Service"]["spec"]
    assert spec["ipFamilyPolicy"] == "SingleStack"
    assert "clusterIP" not in spec
    with_address = ClusterSettings(image="x", cluster_ip="10.152.183.7")
    assert render_by_kind(with_address)["Service"]["spec"]["clusterIP"] == "10.152.183.7"


def test_changes_the_digest_with_the_configuration() -> None:
    def get_annotations(settings: ClusterSettings) -> str:
        template = render_by_kind(settings)["StatefulSet"]["spec"]["template"]
        return str(template["metadata"]["annotations"])

    assert get_annotations(SETTINGS) == get_annotations(SETTINGS)
    for changed in (replace(SETTINGS, port=3200), replace(SETTINGS, ca_pem="x")):
        assert get_annotations(SETTINGS) != get_annotations(changed)


def test_does_not_probe_devpi_after_its_start() -> None:
    spec = render_by_kind(SETTINGS)["StatefulSet"]["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    assert set(containers["devpi"]) & {"livenessProbe", "readinessProbe"} == set()
    for probe in ("livenessProbe", "readinessProbe"):
        assert containers["front"][probe]["httpGet"]["path"] == "/healthz"


def test_renders_the_environment_without_a_namespace_for_gitops() -> None:
    endpoint = Endpoint(address=IPv4Address("10.152.183.7"))
    assert "namespace" not in render_environment_map(None, endpoint)["metadata"]
    assert render_environment_map("chronicle", endpoint)["metadata"]["namespace"] == "chronicle"


def test_shares_no_parts_between_objects() -> None:
    """YAML would show shared parts as anchors and aliases."""
    seen: set[int] = set()

    def check(value: Any) -> None:
        if isinstance(value, dict | list) and value:
            assert id(value) not in seen, value
            seen.add(id(value))
            for part in value.values() if isinstance(value, dict) else value:
                check(part)

    objects = render_objects(replace(SETTINGS, ca_pem="x"))
    for obj in objects:
        check(obj)


def test_rules_travel_to_the_cache_and_the_proxy() -> None:
    """As they come from the record, which is JSON: lists in place of tuples."""
    settings = replace(
        SETTINGS,
        upstream="http://a.example/simple/",
        upstreams=["http://a.example/simple/", "cpu=http://b.example/"],
        pins=["tensor=cpu"],
        min_age="7d",
        allow=["acme-*"],
        deny=["evil"],
        allow_hosts=["packages.corp.example"],
    )
    objects = {f"{o['kind']} {o['metadata']['name']}": o for o in render_objects(settings)}
    containers = objects["StatefulSet pypi-mirror"]["spec"]["template"]["spec"]["containers"]
    (cache,) = (container for container in containers if container["name"] == "public")
    assert cache["command"][7:] == [
        "--upstream=http://a.example/simple/",
        "--upstream=cpu=http://b.example/",
        "--pin=tensor=cpu",
        "--min-age=7d",
        "--allow=acme-*",
        "--deny=evil",
        "--requests",
        "/tmp/requests.log",
    ]
    config = objects["ConfigMap pypi-mirror-front"]["data"]["nginx.conf"]
    assert r'"~*^packages\.corp\.example(?::[0-9]+)?$" 1;' in config
    any_age = config.partition("location @any_age {")[2].partition("}")[0]
    assert "return 503;" in any_age, "no page of an upstream that another one may have replaced"
    plain = render_objects(SETTINGS)[1]["data"]["nginx.conf"]
    assert "return 503;" not in plain.partition("location @any_age {")[2].partition("}")[0]
