"""The cluster's own search domains are known by their shape, not by the name cluster.local."""

from __future__ import annotations

import pytest

from deploy.changes.coredns_target import find_cluster_zones
from deploy.checks.nodes import _find_node_domains
from deploy.evidence.coredns import CoreDns


@pytest.mark.parametrize("domain", ["cluster.local", "k8s.example.org", "svc.corp", "local"])
def test_only_the_nodes_own_domains_differ(domain: str) -> None:
    search = (f"shop.svc.{domain}", f"svc.{domain}", domain, "home.example", "svcs.example")
    assert _find_node_domains(search) == ("home.example", "svcs.example")


def test_without_cluster_domains_all_are_the_nodes() -> None:
    """A pod with dnsPolicy Default."""
    assert _find_node_domains(("home.example", "cluster.local")) == (
        "home.example",
        "cluster.local",
    )


def test_the_proof_asks_for_a_name_of_the_clusters_own_domain() -> None:
    text = ".:53 {\n    kubernetes k8s.example.org. in-addr.arpa ip6.arpa\n}\n"
    coredns = CoreDns(namespace="kube-system", name="coredns", text=text)
    assert find_cluster_zones(coredns) == ("k8s.example.org",)
