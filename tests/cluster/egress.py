"""Keeps the nft set of the pods that may leave the cluster in step with the API."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

from tests.cluster.api import LabApi
from tests.cluster.network import open_egress
from tests.cluster.options import Site

OPEN_LABELS = "app.kubernetes.io/name=pypi-mirror,app.kubernetes.io/component=index"
"""Only pods with both labels get out, in whatever namespace they are."""

PODS = f"/api/v1/pods?labelSelector={quote(OPEN_LABELS)}"
RETRY_SECONDS = 0.5


class EgressGuard:
    """A watch in a thread; while the API server is away the set stays as it was."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pods: dict[str, str] = {}

    def start(self) -> None:
        threading.Thread(target=self._follow, name="egress", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while True:
            try:
                self._list_and_watch(LabApi(self._site.kubeconfig))
            except (OSError, RuntimeError, ValueError, KeyError):
                pause.wait(RETRY_SECONDS)

    def _list_and_watch(self, api: LabApi) -> None:
        listed = api.get(PODS)
        self._pods = {}
        for pod in listed["items"]:
            self._note(pod)
        open_egress(set(self._pods.values()))
        version = listed["metadata"]["resourceVersion"]
        for event in api.watch(f"{PODS}&watch=1&resourceVersion={version}&timeoutSeconds=240"):
            if event["type"] == "ERROR":
                return
            before = set(self._pods.values())
            self._note(event["object"], gone=event["type"] == "DELETED")
            if set(self._pods.values()) != before:
                open_egress(set(self._pods.values()))

    def _note(self, pod: Any, *, gone: bool = False) -> None:
        name = pod["metadata"]["uid"]
        address = pod.get("status", {}).get("podIP")
        over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if gone or over or not address or pod["spec"].get("hostNetwork"):
            self._pods.pop(name, None)
        else:
            self._pods[name] = address
