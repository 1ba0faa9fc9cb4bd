"""A port of a pod on this machine's loopback, through the API server: works from any laptop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import portforward_call

from deploy.cluster.client import Cluster
from mirror.core.errors import ClusterError

_CHUNK = 1 << 16


@contextmanager
def forward_port(cluster: Cluster, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Forward a local port to ``port`` of a pod; yields the local port.

    Every connection is a websocket of its own to the API server. Raises ClusterError when the
    first one cannot be made (a missing right, a pod that is gone).
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"

    def connect() -> socket.socket:
        try:
            forward: Any = cluster.open_websocket(portforward_call, path, [("ports", str(port))])
            return cast("socket.socket", forward.socket(port))
        except (ApiException, OSError) as broken:
            raise ClusterError(
                f"no port-forward to pod {namespace}/{pod}",
                why=str(broken).strip().splitlines()[0][:300],
                next_step="needs the right to create pods/portforward in that namespace",
            ) from broken

    connect().close()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_accept, args=(listener, connect), daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        # shutdown wakes the accepting thread, which close alone does not
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, connect: Any) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=(near, connect), daemon=True).start()


def _join(near: socket.socket, connect: Any) -> None:
    with near:
        try:
            far = connect()
        except ClusterError:
            return
        with closing(far):
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the end of the source, then hand the end on."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
