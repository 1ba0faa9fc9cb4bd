"""Logs of restarted containers: the reason is in the log of the run that failed."""

from __future__ import annotations

import pytest

from deploy.cluster.client import Object
from deploy.evidence import workloads
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi, on

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


def seed_pods(api: MemoryApi, count: int) -> None:
    """Seed pods that have failed, each with a line of its log about a download."""
    for number in range(count):
        name = f"web-{number}"
        container = {"name": "main", "state": RUNNING, "containerID": "c", "restartCount": 0}
        api.seed(
            {
                "kind": "Pod",
                "metadata": {"namespace": "chronicle", "name": name},
                "spec": {"containers": [{"name": "main"}]},
                "status": {"phase": "Running", "containerStatuses": [container]},
            }
        )
        api.logs["chronicle", name, "main"] = f"error: Failed to fetch {number}\n"


def read_logs(cluster: DirectCluster) -> tuple[int, tuple[str, ...]]:
    """Return the number of pods of which a log was read, and what was not."""
    found, gaps = workloads.read_workloads(cluster, "pypi-mirror")
    return sum(bool(pod.log_lines) for each in found for pod in each.pods), gaps


@pytest.mark.parametrize(
    ("pods", "expected"),
    [(60, (60, ())), (61, (60, ("logs of 1 containers (more than 60)",)))],
)
def test_says_how_many_logs_it_leaves_out(pods: int, expected: tuple[int, tuple[str, ...]]) -> None:
    api = MemoryApi()
    seed_pods(api, pods)
    assert read_logs(DirectCluster(api, deadline=Deadline.after(60))) == expected


def test_reads_failing_containers_first() -> None:
    api = MemoryApi()
    seed_pods(api, 61)

    def fail(pod: Object) -> None:
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}

    api.edit("Pod", "web-60", "chronicle", fail)
    api.edit("Pod", "web-9", "chronicle", fail)
    found, _ = workloads.read_workloads(
        DirectCluster(api, deadline=Deadline.after(60)), "pypi-mirror"
    )
    silent = [pod.name for each in found for pod in each.pods if not pod.log_lines]
    assert len(silent) == 1 and silent not in (["web-60"], ["web-9"])


@pytest.mark.parametrize("status", [401, 403])
def test_says_once_that_logs_may_not_be_read(status: int) -> None:
    api = MemoryApi()
    seed_pods(api, 3)
    refused = on("GET", "*/log")
    api.failures.refuse(refused, status, message="no logs for you", times=None)
    count, gaps = read_logs(DirectCluster(api))
    assert count == 0
    (gap,) = gaps
    assert gap.startswith("logs: ") and "no logs for you" in gap


def test_a_log_that_is_gone_is_no_gap() -> None:
    api = MemoryApi()
    seed_pods(api, 2)
    api.failures.refuse(on("GET", "*/web-1/log"), 404, "NotFound")
    assert read_logs(DirectCluster(api)) == (1, ())


def test_says_that_time_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    api = MemoryApi()
    seed_pods(api, 2)
    monkeypatch.setattr(workloads, "_LOG_SECONDS", 0.0)
    assert read_logs(DirectCluster(api)) == (0, ("some logs: time ran out",))
