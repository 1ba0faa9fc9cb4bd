"""Run an action in a child process that is killed while it writes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from deploy.changes import node_target
from deploy.cluster.client import Cluster

T = TypeVar("T")


def run_killed_at_write(number: int, *, sent: bool, action: Callable[[], None]) -> bool:
    """Run an action in a child process that is killed (SIGKILL) at its number-th write.

    With sent, the child is killed after the write was sent, otherwise before. Returns False if the
    action ended first, because it makes fewer writes.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_at_write(number, sent=sent)
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def _kill_at_write(number: int, *, sent: bool) -> None:
    request, ask_agent = Cluster.request, node_target.ask_agent  # type: ignore[attr-defined]
    count = 0

    def count_write(is_write: bool, send: Callable[[], T]) -> T:
        nonlocal count
        count += is_write
        if is_write and count == number and not sent:
            os.kill(os.getpid(), signal.SIGKILL)
        response = send()
        if is_write and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    def counting_request(self: Cluster, method: str, path: str, **options: Any) -> str:
        # another thread renews the Lease, at times of its own
        is_renewal = threading.current_thread() is not threading.main_thread()
        is_write = method != "GET" and "accessreview" not in path and not is_renewal
        return count_write(is_write, lambda: request(self, method, path, **options))

    def counting_ask_agent(
        cluster: Cluster, pod: str, question: Mapping[str, Any]
    ) -> dict[str, Any]:
        return count_write(question["do"] == "write", lambda: ask_agent(cluster, pod, question))

    Cluster.request = counting_request  # type: ignore[method-assign]
    node_target.ask_agent = counting_ask_agent  # type: ignore[attr-defined, assignment]
