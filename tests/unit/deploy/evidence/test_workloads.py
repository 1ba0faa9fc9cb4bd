"""Why a container fails is in the log of a run that ended, whatever it does now."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence import workloads

META: Object = {"namespace": "chronicle", "name": "web-0"}
WAITS: Object = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNS: Object = {"running": {}}


class FakeLogCluster:
    """``logs`` by whether it is the run before; one that is not there is refused."""

    def __init__(self, **logs: str) -> None:
        self._logs = logs

    def read_log(self, *_: str, previous: bool, **__: Any) -> str:
        name = "before" if previous else "now"
        if name not in self._logs:
            raise ApiError(400, "", "previous terminated container not found", "refused", "")
        return self._logs[name]


@pytest.mark.parametrize(
    ("logs", "state", "restarts", "read"),
    [
        ({"now": "starts", "before": "fails"}, RUNS, 0, "starts"),
        ({"now": "", "before": "fails"}, RUNS, 1, "fails\n"),
        ({"now": "starts"}, RUNS, 1, "starts"),
        ({"now": "fails too", "before": "fails"}, WAITS, 1, "fails"),
        ({"now": "fails"}, WAITS, 1, "fails"),
    ],
)
def test_the_run_that_ended_is_read(
    logs: dict[str, str], state: Object, restarts: int, read: str
) -> None:
    cluster = cast("Cluster", FakeLogCluster(**logs))
    told = {"name": "main", "state": state, "restartCount": restarts}
    assert workloads._read_log(cluster, META, told) == read
