"""The API server from inside a pod, by the token of its ServiceAccount."""

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
_SECONDS = 15.0


class ApiStatusError(Exception):
    """The API server says no. ``code`` is the HTTP status."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.status = code


class InClusterClient:
    """Three verbs; a timeout on every call."""

    def __init__(self, server: str, account: Path = SERVICE_ACCOUNT_DIR) -> None:
        self._server, self._account = server, account
        self._tls: ssl.SSLContext | None = None
        if server.startswith("https:"):
            self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
            # clusters have authorities without a key usage, which Python 3.13 refuses
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> InClusterClient:
        """As the kubelet tells every pod."""
        host, port = env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]
        return cls(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")

    def get(self, path: str) -> Any:
        """An object, or None where there is none."""
        try:
            return self._ask("GET", path)
        except ApiStatusError as refused:
            if refused.status == 404:
                return None
            raise

    def patch(self, path: str, body: Any) -> Any:
        """A JSON patch."""
        asked = f"{path}?fieldManager={FIELD_MANAGER}"
        return self._ask("PATCH", asked, body, "application/json-patch+json")

    def create(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body, "application/json")

    def _ask(self, method: str, path: str, body: Any = None, kind: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._server}{path}", data, method=method)
        # read each time: the kubelet puts a new one there every hour
        token = (self._account / "token").read_text().strip()
        request.add_header("Authorization", f"Bearer {token}")
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise ApiStatusError(refused.code, _message(refused.read(4096))) from None


def _message(text: bytes) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace")[:300]
