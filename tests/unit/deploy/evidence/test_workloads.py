"""Logs of restarted containers: the reason is in the log of the run that failed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence import workloads

METADATA: Object = {"namespace": "chronicle", "name": "web-0"}
WAITING: Object = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING: Object = {"running": {}}


class FakeLogCluster:
    """Has a log of the run ``before``, of the one ``now``, or of both."""

    def __init__(self, **logs: str) -> None:
        self._logs = logs

    def read_log(self, *_: str, previous: bool, **__: Any) -> str:
        name = "before" if previous else "now"
        if name not in self._logs:
            raise ApiError(400, "", "previous terminated container not found", "refused", "")
        return self._logs[name]


@pytest.mark.parametrize(
    ("logs", "state", "restarts", "expected"),
    [
        ({"now": "starts", "before": "fails"}, RUNNING, 0, "starts"),
        ({"now": "", "before": "fails"}, RUNNING, 1, "fails\n"),
        ({"now": "starts"}, RUNNING, 1, "starts"),
        ({"now": "fails too", "before": "fails"}, WAITING, 1, "fails"),
        ({"now": "fails"}, WAITING, 1, "fails"),
    ],
)
def test_reads_the_log_of_the_failed_run(
    logs: dict[str, str], state: Object, restarts: int, expected: str
) -> None:
    cluster = cast("Cluster", FakeLogCluster(**logs))
    status = {"name": "main", "state": state, "restartCount": restarts}
    assert workloads._read_log(cluster, METADATA, status) == expected
