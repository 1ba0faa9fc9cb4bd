"""The product's client on an API in this process, without HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException

from deploy.cluster.client import Cluster, Object
from mirror.core.wait import Deadline
from mirror.reconciler.api import ApiStatusError, InClusterClient
from tests.kubernetes_api.access import User
from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.memory import MemoryApi
from tests.kubernetes_api.requests import ApiRequest
from tests.kubernetes_api.websocket import PodProgram


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

    def open_websocket(
        self,
        connect: Callable[..., Any],
        path: str,
        query: Sequence[tuple[str, str]],
        **options: Any,
    ) -> Any:
        """Run a pod's program; other websockets need the API over HTTP."""
        request = ApiRequest(
            method="GET",
            path=path,
            query=dict(query),
            command=[value for name, value in query if name == "command"],
            token=self._user.token,
            user_agent="direct",
        )
        response = self.memory.handle(request)
        if response.status != 101:
            text = json.dumps(response.body)
            why = f"Handshake status {response.status} Refused -+-+- {{}} -+-+- {text}\n"
            raise ApiException(status=0, reason=why)  # as the client of websockets raises it
        return ProgramStream(response.body, request.command)


class ProgramStream:
    """What a client of pods/exec sees of a program that runs to its end at its first input."""

    def __init__(self, program: PodProgram, command: list[str]) -> None:
        self._program, self._command = program, command
        self._output, self._errors = "", ""
        self.returncode: int | None = None

    def write_stdin(self, text: str) -> None:
        self.returncode, self._output, self._errors = self._program(self._command, text)

    def is_open(self) -> bool:
        return self.returncode is None

    def update(self, timeout: float) -> None:
        """Do nothing: the program has ended."""

    def peek_stdout(self) -> bool:
        return bool(self._output)

    def peek_stderr(self) -> bool:
        return bool(self._errors)

    def read_stdout(self) -> str:
        text, self._output = self._output, ""
        return text

    def read_stderr(self) -> str:
        text, self._errors = self._errors, ""
        return text

    def close(self) -> None:
        self.returncode = self.returncode or 0


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
