"""A small Kubernetes API client for the lab itself, on urllib."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


class LabApi:
    """Reads objects with the token of the lab's kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server = str(cluster["server"])
        self._token = str(config["users"][0]["user"]["token"])
        self._tls = ssl.create_default_context(cadata=authority)

    def get(self, path: str, *, timeout: float = 10) -> Any:
        """Return the object or list at an API path. Raises OSError (HTTPError, URLError)."""
        with self._open(path, timeout) as response:
            return json.load(response)

    def watch(self, path: str, *, timeout: float = 300) -> Iterator[Any]:
        """Yield the events of a watch until the server ends it. Raises OSError."""
        with self._open(path, timeout) as response:
            for line in response:
                yield json.loads(line)

    def _open(self, path: str, timeout: float) -> Any:
        request = urllib.request.Request(self._server + path)
        request.add_header("Authorization", f"Bearer {self._token}")
        return urllib.request.urlopen(request, timeout=timeout, context=self._tls)
