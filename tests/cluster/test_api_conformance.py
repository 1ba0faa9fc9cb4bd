"""A real API server gives the results that the API in memory gives (tests/unit/kubernetes_api)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
import yaml

from tests.cluster.apiserver import ApiServer
from tests.cluster.objects import build_cluster_role, render_list
from tests.cluster.waiting import wait_for
from tests.kubernetes_api.conformance import (
    EXPECTED_RESULTS,
    LIMITED,
    LIMITED_RULES,
    POOLS,
    SCENARIOS,
    Scenario,
    Send,
    run_scenario,
)

pytestmark = pytest.mark.cluster

POOL_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ippools.crd.projectcalico.org"},
    "spec": {
        "group": "crd.projectcalico.org",
        "scope": "Cluster",
        "names": {"kind": "IPPool", "plural": "ippools", "singular": "ippool"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def send(api_server: ApiServer) -> Send:
    """Provide a function that sends a request as one of the users."""
    config = yaml.safe_load(api_server.admin.read_text())
    server = config["clusters"][0]["cluster"]["server"]
    tokens = {"admin": "a", LIMITED: "l", "nobody": "none"}
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE", assert_hostname=False)
    urllib3.disable_warnings()

    def send_request(
        user: str, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {tokens[user]}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        encoded = urlencode(query)
        response = pool.request(
            method, f"{server}{path}?{encoded}", body=data, headers=headers, timeout=20
        )
        try:
            return response.status, json.loads(response.data)
        except ValueError:
            return response.status, response.data.decode()

    rules = [
        {"apiGroups": [""], "resources": [resource], "verbs": verbs.split()}
        for verbs, resource in LIMITED_RULES
    ]
    subject = {"kind": "User", "name": LIMITED, "apiGroup": "rbac.authorization.k8s.io"}
    objects = [*build_cluster_role("conformance", rules, subject), POOL_DEFINITION]
    api_server.kubectl("apply", "-f", "-", stdin=render_list(objects))
    wait_for(
        "the IPPools to be served",
        lambda: send_request("admin", "GET", POOLS, {}, None, "")[0] == 200,
        timeout=30,
    )
    probe = "/api/v1/namespaces/default/configmaps"
    wait_for(
        "the rights to apply",
        lambda: send_request(LIMITED, "GET", probe, {}, None, "")[0] == 200,
        timeout=30,
    )
    return send_request


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_real_api_server_gives_these_results(send: Send, scenario: Scenario) -> None:
    name = scenario.__name__.replace("_", "-")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert send("admin", "POST", "/api/v1/namespaces", {}, namespace, "")[0] == 201
    account = {"metadata": {"name": "default"}}
    path = f"/api/v1/namespaces/{name}/serviceaccounts"
    assert send("admin", "POST", path, {}, account, "application/json")[0] == 201
    assert run_scenario(scenario, send, name) == EXPECTED_RESULTS[scenario.__name__]
