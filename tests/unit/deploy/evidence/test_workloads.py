"""Logs of restarted containers: the reason is in the log of the run that failed."""

from __future__ import annotations

import pytest

from deploy.cluster.client import Object
from deploy.evidence import workloads
from tests.kubernetes_api import DirectCluster, MemoryApi

METADATA: Object = {"namespace": "chronicle", "name": "web-0"}
WAITING: Object = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING: Object = {"running": {}}


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
    api = MemoryApi()
    spec = {"containers": [{"name": "main"}]}
    api.seed({"kind": "Pod", "metadata": METADATA, "spec": spec})
    container = "chronicle", "web-0", "main"
    if "now" in logs:
        api.logs[container] = logs["now"]
    if "before" in logs:
        api.previous_logs[container] = logs["before"]
    cluster = DirectCluster(api)
    status = {"name": "main", "state": state, "restartCount": restarts}
    assert workloads._read_log(cluster, METADATA, status) == expected
