"""The API in memory gives the results of a real API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kubernetes_api import CALICO_V1, MemoryApi, Rule
from tests.kubernetes_api.conformance import (
    EXPECTED_RESULTS,
    LIMITED,
    LIMITED_RULES,
    SCENARIOS,
    Scenario,
    run_scenario,
)
from tests.kubernetes_api.requests import ApiRequest


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_api_in_memory_gives_these_results(scenario: Scenario) -> None:
    api = MemoryApi(*CALICO_V1)
    api.add_user(LIMITED, [Rule(*rule) for rule in LIMITED_RULES])
    name = scenario.__name__.replace("_", "-")
    metadata = {"name": "default", "namespace": name}
    api.seed(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
    )

    def send(
        user: str, method: str, path: str, query: Mapping[str, str], body: Any, content_type: str
    ) -> tuple[int, Any]:
        request = ApiRequest(
            method=method,
            path=path,
            query=dict(query),
            body=body,
            content_type=content_type,
            token=user,
        )
        response = api.handle(request)
        return response.status, response.body

    assert run_scenario(scenario, send, name) == EXPECTED_RESULTS[scenario.__name__]
