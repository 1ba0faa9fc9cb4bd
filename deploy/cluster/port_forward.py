"""Forward a local port to a pod through the API server, from any machine that can reach it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import portforward_call

from deploy.cluster.client import Cluster
from deploy.cluster.websockets import describe_refusal
from mirror.core.errors import ClusterError

_CHUNK_BYTES = 1 << 16


@contextmanager
def forward_port(cluster: Cluster, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Forward a port of 127.0.0.1 to ``port`` of a pod; yields the local port.

    Every connection is a websocket of its own to the API server. Raises ClusterError if the first
    one fails (a missing permission, a pod that is gone).
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward"

    def connect() -> socket.socket:
        try:
            stream: Any = cluster.open_websocket(portforward_call, path, [("ports", str(port))])
            return cast("socket.socket", stream.socket(port))
        except (ApiException, OSError) as error:
            raise ClusterError(
                f"no port-forward to pod {namespace}/{pod}",
                why=describe_refusal(error),
                next_step="this needs get and create of pods/portforward in that namespace",
            ) from error

    connect().close()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=_accept, args=(listener, connect), daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        # close alone does not wake the accepting thread
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    while True:
        try:
            local, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_join, args=(local, connect), daemon=True).start()


def _join(local: socket.socket, connect: Callable[[], socket.socket]) -> None:
    with local:
        try:
            remote = connect()
        except ClusterError:
            return
        with closing(remote):
            back = threading.Thread(target=_copy, args=(remote, local), daemon=True)
            back.start()
            _copy(local, remote)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, then close the sink for writing."""
    with suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
