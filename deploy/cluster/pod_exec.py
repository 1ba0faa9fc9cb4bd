"""A program run in a pod that is there: one line in, what it printed out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import websocket_call

from deploy.cluster.client import Cluster
from mirror.core.errors import ClusterError

_SECONDS = 30.0


def run_in_pod(
    cluster: Cluster, namespace: str, pod: str, argv: Sequence[str], stdin: str
) -> tuple[int, str, str]:
    """Give ``line`` to argv's standard input; its exit code, output and errors.

    Raises ClusterError where it cannot be run (a missing right, a pod that is gone) or is still
    running after 30 s.
    """
    limit = min(_SECONDS, max(cluster.deadline.remaining(), 1.0))
    out, err = "", ""
    try:
        link: Any = cluster.open_websocket(
            websocket_call,
            f"/api/v1/namespaces/{namespace}/pods/{pod}/exec",
            [
                *(("command", word) for word in argv),
                *((name, "true") for name in ("stdin", "stdout", "stderr")),
            ],
            _preload_content=False,
            _request_timeout=limit,
        )
        end = time.monotonic() + limit
        link.write_stdin(stdin + "\n")
        while link.is_open() and time.monotonic() < end:
            link.update(timeout=1)
            out += link.read_stdout() if link.peek_stdout() else ""
            err += link.read_stderr() if link.peek_stderr() else ""
        out += link.read_stdout() if link.peek_stdout() else ""
        err += link.read_stderr() if link.peek_stderr() else ""
        if link.is_open():
            link.close()
            raise ClusterError(
                f"pod {namespace}/{pod} has not answered after {limit:.0f} s", why=err[-300:]
            )
        code = int(link.returncode or 0)
    except (ApiException, OSError, ValueError) as broken:
        raise ClusterError(
            f"nothing can be run in pod {namespace}/{pod}",
            why=(str(broken).strip().splitlines() or [type(broken).__name__])[0][:300],
            next_step="needs the right to create pods/exec in that namespace",
        ) from broken
    return code, out, err
