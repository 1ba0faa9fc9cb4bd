"""A stand-in for BIRD: routes on the lab's router to each node's blocks of pod addresses.

The nodes' default routes lead to the router, so nodes need no routes to each other's blocks.
"""

from __future__ import annotations

import ipaddress
import threading

from tests.cluster.api import LabApi
from tests.cluster.options import Site
from tests.cluster.process import run

BLOCKS = "/apis/crd.projectcalico.org/v1/ipamblocks"
POLL_SECONDS = 0.3


class BlockRoutes:
    """Polls IPAMBlocks in a thread. While the API server is down, the routes stay."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[str, str] = {}

    def start(self) -> None:
        threading.Thread(target=self._follow, name="routes", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(POLL_SECONDS):
            try:
                self._sync(LabApi(self._site.kubeconfig))
            except (OSError, RuntimeError, ValueError, KeyError):
                continue

    def _sync(self, api: LabApi) -> None:
        for block in api.get(BLOCKS)["items"]:
            kind, _, node = (block["spec"].get("affinity") or "").partition(":")
            cidr = block["spec"]["cidr"]
            if kind != "host" or self._known.get(cidr) == node:
                continue
            version = ipaddress.ip_network(cidr).version
            addresses = api.get(f"/api/v1/nodes/{node}")["status"]["addresses"]
            ipv4 = next(item["address"] for item in addresses if item["type"] == "InternalIP")
            number = ipaddress.IPv4Address(ipv4).packed[-1]
            via = ipv4 if version == 4 else str(self._site.ipv6_node_address(number))
            run("ip", f"-{version}", "route", "replace", cidr, "via", via, timeout=10)
            self._known[cidr] = node
