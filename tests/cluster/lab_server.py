"""The lab's first process: it starts all parts of the lab and handles the clients' requests."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from tests import REPOSITORY
from tests.cluster.api import LabApi
from tests.cluster.calico.objects import render_calico_node, render_crds
from tests.cluster.calico.routes import BlockRoutes
from tests.cluster.control_plane import ControlPlane
from tests.cluster.egress import EgressGuard
from tests.cluster.network import build_lab_network
from tests.cluster.nodes import NodeManager
from tests.cluster.objects import has_condition, render_objects
from tests.cluster.options import REGISTRY_PORT
from tests.cluster.record import LabRecord
from tests.cluster.waiting import WaitAborted, wait_for

Reply = dict[str, Any]


class LabServer:
    """All parts of one lab. Every method waits until its effect is visible."""

    def __init__(
        self, record: LabRecord, machine_network: int, progress: Callable[[str], None]
    ) -> None:
        self._record, self._site = record, record.site
        self._machine_network = machine_network
        self._progress = progress
        self._control = ControlPlane(record.site, record.options, record.kubelite)
        self._nodes = NodeManager(record)

    def start(self) -> None:
        """Start the network, DNS and the cluster, and wait until everything is ready."""
        options = self._record.options
        build_lab_network(
            self._site, dual_stack=options.no_ipv6_route, cut_egress=options.cut_egress
        )
        self._start_dns()
        if options.calico:
            BlockRoutes(self._site).start()
        self._start_cluster()
        EgressGuard(self._site).start()

    def handle_request(self, request: Reply) -> Reply:
        """Handle a client's request and return its result, or an error message under "error"."""
        operations: dict[str, Callable[..., Any]] = {
            "status": self.status,
            "start_node": self.start_node,
            "kill_node": self._nodes.kill,
            "stop_apiserver": self._control.stop_apiserver,
            "start_apiserver": self._control.start_apiserver,
            "reset": self.reset,
        }
        try:
            return {"result": operations[request["operation"]](*request["arguments"])}
        except (OSError, RuntimeError, ValueError, KeyError, WaitAborted) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def status(self) -> Reply:
        return {"nodes": list(self._nodes.running())}

    def start_node(self, name: str) -> None:
        """Start a known or new node and wait until it is Ready."""
        self._nodes.start(name)
        self._wait_for_nodes((name,), timeout=90)

    def reset(self) -> None:
        """Start over with an empty cluster: no objects, images, volumes or added nodes remain."""
        self._nodes.wipe()
        self._control.stop()
        self._control.wipe()
        self._start_cluster()

    def _start_cluster(self) -> None:
        self._progress("starting the control plane")
        self._control.start()
        self._progress("starting the nodes")
        for name in self._record.options.nodes:
            self._nodes.start(name)
        if self._record.options.calico:
            self._control.kubectl("create", "-f", "-", stdin=render_crds())
            self._control.kubectl("create", "-f", "-", stdin=render_calico_node(self._record))
        self._control.kubectl("apply", "-f", "-", stdin=render_objects(self._site))
        self._wait_for_nodes(self._record.options.nodes, timeout=120)
        self._progress("waiting for CoreDNS, storage and the registry")
        self._wait_for_parts()

    def _wait_for_nodes(self, names: tuple[str, ...], *, timeout: float) -> None:
        api = LabApi(self._site.kubeconfig)

        def ready() -> bool:
            for name in names:
                self._nodes.raise_if_ended(name)
            return all(has_condition(api.get(f"/api/v1/nodes/{name}"), "Ready") for name in names)

        wait_for(f"{', '.join(names)} to be Ready", ready, timeout=timeout, interval=0.3)

    def _wait_for_parts(self) -> None:
        api = LabApi(self._site.kubeconfig)
        deployments = "/apis/apps/v1/deployments"
        first = self._site.node_address(min(self._nodes.numbers.values()))
        registry = f"http://{first}:{REGISTRY_PORT}/v2/"

        def available() -> bool:
            return all(has_condition(item, "Available") for item in api.get(deployments)["items"])

        def answers() -> bool:
            # Bypass the machine's proxy settings.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(registry, timeout=2) as response:
                return bool(response.status == 200)

        wait_for("CoreDNS, storage and registry", available, timeout=300, interval=0.3)
        wait_for("the registry's node port", answers, timeout=90, interval=0.2)

    def _start_dns(self) -> None:
        argv = (sys.executable, "-m", "tests.cluster.dns", str(self._site.folder))
        with (self._site.logs / "dns.log").open("ab") as log:
            self._dns = subprocess.Popen(
                (*argv, str(self._machine_network)),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._machine_network,),
                start_new_session=True,
            )
