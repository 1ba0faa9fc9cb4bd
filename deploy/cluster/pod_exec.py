"""Run a program in an existing pod."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import websocket_call

from deploy.cluster.client import Cluster
from deploy.cluster.websockets import describe_refusal
from mirror.core.errors import ClusterError

_TIMEOUT_SECONDS = 30.0


def run_in_pod(
    cluster: Cluster, namespace: str, pod: str, argv: Sequence[str], stdin: str
) -> tuple[int, str, str]:
    """Run argv with the line ``stdin`` on its standard input: exit code, output and errors.

    Raises ClusterError if it cannot be run (a missing permission, a pod that is gone) or runs for
    more than 30 s.
    """
    limit = min(_TIMEOUT_SECONDS, max(cluster.deadline.remaining(), 1.0))
    output, errors = "", ""
    try:
        stream: Any = cluster.open_websocket(
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
        stream.write_stdin(stdin + "\n")
        while stream.is_open() and time.monotonic() < end:
            stream.update(timeout=1)
            output += stream.read_stdout() if stream.peek_stdout() else ""
            errors += stream.read_stderr() if stream.peek_stderr() else ""
        output += stream.read_stdout() if stream.peek_stdout() else ""
        errors += stream.read_stderr() if stream.peek_stderr() else ""
        if stream.is_open():
            stream.close()
            raise ClusterError(
                f"pod {namespace}/{pod} has not answered after {limit:.0f} s", why=errors[-300:]
            )
        exit_code = int(stream.returncode or 0)
    except (ApiException, OSError, ValueError) as error:
        raise ClusterError(
            f"cannot run a program in pod {namespace}/{pod}",
            why=describe_refusal(error),
            next_step="this needs get and create of pods/exec in that namespace",
        ) from error
    return exit_code, output, errors
