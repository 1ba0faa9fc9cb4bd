"""Wait until every pod of CoreDNS has loaded the Corefile that a rollback wrote.

CoreDNS logs the checksum of its configuration when it starts and after each reload. So a pod has
loaded the new one when it logs another checksum than it ran with before. The kubelet's own clock
decides what "since" means: `sinceSeconds`, not a time of ours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_container, get_name
from deploy.evidence.coredns import CoreDns
from deploy.repair.coredns_reload import TIMEOUT_SECONDS, list_coredns_pods
from mirror.core.errors import WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_RUNNING = re.compile(r"Running configuration SHA512 = ([0-9a-f]+)")
_FAILED = "Corefile changed but reload failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCorefiles:
    """The checksum of what each pod of CoreDNS ran with, by the pod's uid, at a moment.

    ``fixed_seconds`` is how long before that the fix was written. A pod that ran longer and has not
    reloaded since never had the fix. ``unseen`` says why nothing is known.
    """

    checksums: Mapping[str, str]
    at: float
    never_fixed: frozenset[str] = frozenset()
    unseen: str = ""


def read_running(cluster: Cluster, coredns: CoreDns, fixed_seconds: float) -> RunningCorefiles:
    """Return what every pod runs with now, before the Corefile is written."""
    checksums: dict[str, str] = {}
    never_fixed = set()
    try:
        for pod in _list_running(cluster, coredns):
            uid = pod["metadata"]["uid"]
            found = _RUNNING.findall(_read_log(cluster, coredns, pod))
            if not found:
                return RunningCorefiles(
                    checksums={},
                    at=time.monotonic(),
                    unseen=f"pod {get_name(pod)} logs no checksum of its configuration",
                )
            checksums[uid] = found[-1]
            if fixed_seconds < TIMEOUT_SECONDS:
                since = _read_log(cluster, coredns, pod, int(fixed_seconds) + 2)
                if not _RUNNING.search(since):
                    never_fixed.add(uid)
    except ApiError as error:
        return RunningCorefiles(checksums={}, at=time.monotonic(), unseen=error.why or str(error))
    unseen = "" if checksums else "CoreDNS has no running pods"
    return RunningCorefiles(
        checksums=checksums,
        at=time.monotonic(),
        never_fixed=frozenset(never_fixed),
        unseen=unseen,
    )


def wait_until_loaded(
    cluster: Cluster, coredns: CoreDns, before: RunningCorefiles, progress: Progress
) -> None:
    """Return once every pod runs with the restored Corefile; note what cannot be seen.

    Raises WaitTimeout that names the pods that have not loaded it.
    """
    if before.unseen:
        progress.note(f"not seen whether CoreDNS has loaded the Corefile: {before.unseen}")
        return
    progress.step("wait until CoreDNS has loaded the Corefile as it was")
    waiting: dict[str, str] = {}

    def is_loaded() -> bool:
        waiting.clear()
        for pod in _list_running(cluster, coredns):
            why = _find_obstacle(cluster, coredns, pod, before)
            if why:
                waiting[get_name(pod)] = why
        return not waiting

    try:
        wait_until(
            is_loaded,
            deadline=cluster.deadline.within(TIMEOUT_SECONDS),
            what="CoreDNS has loaded the restored Corefile",
            max_interval=1.0,
        )
    except ApiError as error:
        progress.note(f"not seen whether CoreDNS has loaded the Corefile: {error}")
    except WaitTimeout as timeout:
        raise WaitTimeout(
            "the Corefile is restored, but CoreDNS has not loaded it in time",
            why="\n".join(f"pod {name}: {why}" for name, why in waiting.items()),
            next_step=f"kubectl -n {coredns.namespace} rollout restart "
            f"{coredns.workload.lower() or 'deployment/coredns'} makes it load it",
        ) from timeout


def _find_obstacle(
    cluster: Cluster, coredns: CoreDns, pod: Object, before: RunningCorefiles
) -> str:
    """Return why a pod does not run with the restored Corefile yet; empty if it does."""
    uid = pod["metadata"]["uid"]
    if uid not in before.checksums:
        return ""  # it has started since
    elapsed = time.monotonic() - before.at
    log = _read_log(cluster, coredns, pod, int(elapsed) + 1)
    if _FAILED in log:
        line = next(line for line in log.splitlines() if _FAILED in line)
        return line.strip()[-400:]
    found = _RUNNING.findall(log)
    if found and (found[-1] != before.checksums[uid]) != (uid in before.never_fixed):
        return ""
    if not found and uid in before.never_fixed:
        # it may still load the fix that the kubelet has written already, and then this one
        return "" if elapsed > TIMEOUT_SECONDS / 2 else "it may still load the fix"
    return "it still runs with the fix"


def _read_log(cluster: Cluster, coredns: CoreDns, pod: Object, seconds: int | None = None) -> str:
    container = get_container(pod, "coredns")["name"]
    return cluster.read_log(coredns.namespace, get_name(pod), container, since_seconds=seconds)


def _list_running(cluster: Cluster, coredns: CoreDns) -> list[Object]:
    return [
        pod
        for pod in list_coredns_pods(cluster, coredns)
        if pod.get("status", {}).get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
    ]
