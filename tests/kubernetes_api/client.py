"""The product's client on an API in this process, without HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient

from deploy.cluster.client import Cluster, Object
from mirror.core.wait import Deadline
from mirror.reconciler.api import ApiStatusError, InClusterClient
from tests.kubernetes_api.access import User
from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.memory import MemoryApi
from tests.kubernetes_api.requests import ApiRequest


class DirectCluster(Cluster):
    """A Cluster whose requests are function calls: the rest of the client is the product's."""

    def __init__(
        self, memory: MemoryApi, user: User | None = None, *, deadline: Deadline | None = None
    ) -> None:
        configuration = Configuration()
        configuration.host = "http://memory.invalid"
        super().__init__(ApiClient(configuration), "memory", deadline or Deadline.after(5))
        self.memory = memory
        self._user = user or memory.admin

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = 15,
    ) -> str:
        request = ApiRequest(
            method=method,
            path=path,
            query=dict(query or {}),
            body=clone(body),
            content_type=content_type,
            token=self._user.token,
            user_agent="direct",
        )
        response = self.memory.handle(request)
        is_text = isinstance(response.body, str)
        text: str = response.body if is_text else json.dumps(response.body)
        if response.status >= 400:
            raise self._build_error(response.status, text, method, path)
        return text


class DirectInClusterClient(InClusterClient):
    """The reconciler's client on an API in this process."""

    def __init__(self, memory: MemoryApi, user: User | None = None) -> None:
        super().__init__("http://memory.invalid")
        self.memory = memory
        self._user = user or memory.admin

    def _request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Any:
        path, _, query = path.partition("?")
        request = ApiRequest(
            method=method,
            path=path,
            query=dict(pair.split("=", 1) for pair in query.split("&") if pair),
            body=clone(body),
            content_type=content_type or "application/json",
            token=self._user.token,
            user_agent="Python-urllib",
        )
        response = self.memory.handle(request)
        if response.status >= 400:
            raise ApiStatusError(response.status, str(response.body["message"]))
        return clone(response.body)
