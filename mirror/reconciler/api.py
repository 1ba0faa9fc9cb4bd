"""A client of the API server for a pod, which uses the token of its ServiceAccount."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
FIELD_MANAGER = "pypi-mirror-keeper"
_SECONDS = 15.0  # timeout of a request


class ApiStatusError(Exception):
    """The API server responded with an error. ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class InClusterClient:
    """Gets, patches and creates objects by their API paths. Raises ApiStatusError, OSError."""

    def __init__(self, server: str, account: Path = SERVICE_ACCOUNT_DIR) -> None:
        self._server, self._account = server, account
        self._tls: ssl.SSLContext | None = None
        if server.startswith("https:"):
            self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
            # the CA of some clusters has no key usage, which Python 3.13 rejects
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> InClusterClient:
        """Use the variables that the kubelet sets in every pod."""
        host, port = env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")

    def get(self, path: str) -> Any:
        """Return an object, or None if it does not exist."""
        try:
            return self._request("GET", path)
        except ApiStatusError as error:
            if error.status == 404:
                return None
            raise

    def patch(self, path: str, body: Any) -> Any:
        """Apply a JSON patch."""
        path = f"{path}?fieldManager={FIELD_MANAGER}"
        return self._request("PATCH", path, body, "application/json-patch+json")

    def create(self, path: str, body: Any) -> Any:
        return self._request("POST", path, body, "application/json")

    def _request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._server}{path}", data, method=method)
        # read for every request: the kubelet replaces the token about every hour
        token = (self._account / "token").read_text().strip()
        request.add_header("Authorization", f"Bearer {token}")
        if content_type:
            request.add_header("Content-Type", content_type)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._tls) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ApiStatusError(error.code, _read_message(error.read(4096))) from None


def _read_message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:300]
