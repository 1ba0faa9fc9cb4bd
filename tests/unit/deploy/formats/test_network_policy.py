"""Which connections NetworkPolicies allow."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.formats.network_policy import EgressPeer, list_denying, matches_selector

MIRROR = EgressPeer(
    namespace="pypi-mirror",
    namespace_labels={"kubernetes.io/metadata.name": "pypi-mirror"},
    pod_labels={"app.kubernetes.io/name": "pypi-mirror", "app.kubernetes.io/component": "index"},
    addresses=("10.152.183.50", "10.1.7.9"),
    port=3141,
    port_name="index",
)
TO_MIRROR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pypi-mirror"}}}
TO_DNS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}


def new_policy(name: str = "deny", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"podSelector": {}, **spec}}


DENY = new_policy(policyTypes=["Ingress", "Egress"])


def find(*policies: dict[str, Any], **labels: str) -> tuple[str, ...]:
    return list_denying(policies, labels or {"app": "web"}, MIRROR)


def test_without_policies_everything_is_allowed() -> None:
    assert find() == ()


def test_a_policy_without_rules_denies_everything() -> None:
    assert find(DENY) == ("deny",)


@pytest.mark.parametrize(
    "spec",
    [
        {"policyTypes": ["Ingress"]},
        {"ingress": [{}]},
        {"policyTypes": ["Egress"], "podSelector": {"matchLabels": {"app": "other"}}},
    ],
)
def test_other_policies_isolate_nothing(spec: dict[str, Any]) -> None:
    assert find(new_policy(**spec)) == ()


def test_egress_rules_alone_make_a_policy_of_egress() -> None:
    assert find(new_policy(egress=[{"to": [TO_DNS]}])) == ("deny",)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"to": [TO_DNS, TO_MIRROR]},
        {"to": [TO_MIRROR], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 3141}]},
        {"to": [TO_MIRROR], "ports": [{"port": "index"}]},
        {"to": [TO_MIRROR], "ports": [{"port": 3000, "endPort": 3141}]},
        {"to": [TO_MIRROR], "ports": [{"protocol": "TCP"}]},
        {"ports": [{"port": 3141, "protocol": "TCP"}]},
        {"to": [{"namespaceSelector": {}}]},
        {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        {"to": [{"ipBlock": {"cidr": "10.152.183.50/32"}}]},
        {"to": [TO_MIRROR | {"podSelector": {"matchLabels": MIRROR.pod_labels}}]},
    ],
)
def test_a_rule_of_any_policy_allows(rule: dict[str, Any]) -> None:
    assert find(DENY, new_policy("allow", policyTypes=["Egress"], egress=[rule])) == ()


@pytest.mark.parametrize(
    "rule",
    [
        {"to": [TO_DNS]},
        {"to": [TO_MIRROR], "ports": [{"port": 3141, "protocol": "UDP"}]},
        {"to": [TO_MIRROR], "ports": [{"port": 443}]},
        {"to": [TO_MIRROR], "ports": [{"port": "http"}]},
        {"to": [TO_MIRROR], "ports": [{"port": 3000, "endPort": 3140}]},
        {"to": [{"podSelector": {}}]},  # in the policy's own namespace
        {"to": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]},
        {"to": [TO_MIRROR | {"podSelector": {"matchLabels": {"app": "other"}}}]},
    ],
)
def test_rules_for_other_peers_do_not_allow(rule: dict[str, Any]) -> None:
    policy = new_policy("narrow", policyTypes=["Egress"], egress=[rule])
    assert find(DENY, policy) == ("deny", "narrow")


@pytest.mark.parametrize(
    ("expression", "matching"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "api"]}, True),
        ({"key": "app", "operator": "In", "values": ["api"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["api"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "tier", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "tier", "operator": "Exists"}, False),
        ({"key": "app", "operator": "DoesNotExist"}, False),
        ({"key": "tier", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "Other"}, False),
    ],
)
def test_matches_label_selectors(expression: dict[str, Any], matching: bool) -> None:
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [expression]}
    assert matches_selector(selector, {"app": "web", "pod": "1"}) is matching
