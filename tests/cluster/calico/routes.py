"""Stands in for BIRD: the lab's router knows by which node each block of pod addresses is reached.

The nodes' default routes lead to the router, so no node needs to know the others' blocks.
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
    """A thread that looks at IPAMBlocks; while the API server is away the routes stay."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[str, str] = {}

    def start(self) -> None:
        threading.Thread(target=self._follow, name="routes", daemon=True).start()

    def _follow(self) -> None:
        pause = threading.Event()
        while not pause.wait(POLL_SECONDS):
            try:
                self._once(LabApi(self._site.kubeconfig))
            except (OSError, RuntimeError, ValueError, KeyError):
                continue

    def _once(self, api: LabApi) -> None:
        for block in api.get(BLOCKS)["items"]:
            kind, _, node = (block["spec"].get("affinity") or "").partition(":")
            cidr = block["spec"]["cidr"]
            if kind != "host" or self._known.get(cidr) == node:
                continue
            version = ipaddress.ip_network(cidr).version
            addresses = api.get(f"/api/v1/nodes/{node}")["status"]["addresses"]
            four = next(one["address"] for one in addresses if one["type"] == "InternalIP")
            number = ipaddress.IPv4Address(four).packed[-1]
            via = four if version == 4 else str(self._site.ipv6_node_address(number))
            run("ip", f"-{version}", "route", "replace", cidr, "via", via, timeout=10)
            self._known[cidr] = node
