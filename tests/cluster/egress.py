"""Keep the nft set of pods that may leave the cluster in sync with the Kubernetes API."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

from tests.cluster.api import LabApi
from tests.cluster.network import open_egress
from tests.cluster.options import Site

OPEN_LABELS = "app.kubernetes.io/name=pypi-mirror,app.kubernetes.io/component=index"
"""Only pods with both labels may leave the cluster, in any namespace."""

PODS = f"/api/v1/pods?labelSelector={quote(OPEN_LABELS)}"
RETRY_SECONDS = 0.5


class EgressGuard:
    """Watches pods in a thread. While the API server is down, the set stays as it is."""

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
        pod_list = api.get(PODS)
        self._pods = {}
        for pod in pod_list["items"]:
            self._update(pod)
        open_egress(set(self._pods.values()))
        version = pod_list["metadata"]["resourceVersion"]
        for event in api.watch(f"{PODS}&watch=1&resourceVersion={version}&timeoutSeconds=240"):
            if event["type"] == "ERROR":
                return
            before = set(self._pods.values())
            self._update(event["object"], deleted=event["type"] == "DELETED")
            if set(self._pods.values()) != before:
                open_egress(set(self._pods.values()))

    def _update(self, pod: Any, *, deleted: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        address = pod.get("status", {}).get("podIP")
        completed = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if deleted or completed or not address or pod["spec"].get("hostNetwork"):
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = address
