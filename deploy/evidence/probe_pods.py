"""Run a program of `mirror.probe` in one pod on each node, in parallel."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from deploy.cluster.client import ApiError, Cluster, temporary_objects
from deploy.cluster.objects import get_pull_secret
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.manifests.mirror_objects import render_namespace
from deploy.manifests.model import NAME, ClusterSettings, Object
from deploy.manifests.pods import render_probe_pod
from mirror.core.codec import load
from mirror.core.errors import WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

T = TypeVar("T")

_ACCOUNT_SECONDS = 10.0
_USAGE_ERROR = 2  # exit code of a program that does not know its arguments
_OTHER_VERSION = (
    "the probe pods' image contains another version of this program: run `mirror up`, or pass "
    "--image REF"
)


def run_probe(
    cluster: Cluster,
    *,
    image: str,
    namespace: str,
    nodes: Sequence[str],
    command: Sequence[str],
    result: type[T],
    seconds: float,
    progress: Progress,
) -> Mapping[str, MaybeSeen[T]]:
    """Return node → the ``result`` that ``python3 -m mirror.probe COMMAND…`` printed there.

    The pods run in ``namespace`` if it exists, else in a temporary namespace. Within ``seconds``
    they have to be done; an image may have to be pulled first. Nothing is left behind.
    """
    try:
        with _open_namespace(cluster, namespace) as target:
            stateful_set = cluster.get("StatefulSet", NAME, target)
            secret = get_pull_secret(stateful_set) if stateful_set else None
            pods = [render_pod(image, target, node, command, secret) for node in nodes]
            deadline = cluster.deadline.within(seconds)
            runs = run_pods(cluster, pods, deadline, lambda done: progress.count(done, len(pods)))
    except (ApiError, WaitTimeout) as error:
        return dict.fromkeys(nodes, Unseen(reason=f"no probe pods: {error.why or error.what}"))
    return {node: read_result(run, result) for node, run in zip(nodes, runs, strict=True)}


def render_pod(
    image: str, namespace: str, node: str, command: Sequence[str], pull_secret: str | None = None
) -> Object:
    """Return a probe pod with the resolv.conf that any workload gets."""
    pod = render_probe_pod(
        ClusterSettings(image=image, namespace=namespace, pull_secret=pull_secret),
        name=f"{NAME}-doctor-{secrets.token_hex(3)}",
        node=node,
        command=["python3", "-m", "mirror.probe", *command],
    )
    del pod["spec"]["dnsConfig"]
    return pod


def read_result(run: PodRun, result: type[T]) -> MaybeSeen[T]:
    """Return what a probe printed, or Unseen with the reason why it printed nothing useful."""
    if run.exit_code == _USAGE_ERROR and "usage: " in run.output:
        return Unseen(reason=_OTHER_VERSION)
    if not run.succeeded:
        output = run.output.strip()[-300:]
        return Unseen(reason=run.why or f"the probe exited with {run.exit_code}: {output}")
    try:
        return load(result, json.loads(run.output))
    except ValueError as error:
        return Unseen(reason=f"cannot read the probe's output ({error}): {_OTHER_VERSION}")


@contextmanager
def _open_namespace(cluster: Cluster, preferred: str) -> Iterator[str]:
    """Yield the preferred namespace if it exists, else a temporary one."""
    namespace = cluster.get("Namespace", preferred)
    if namespace and not namespace["metadata"].get("deletionTimestamp"):
        yield preferred
        return
    name = f"{NAME}-doctor-{secrets.token_hex(3)}"
    with temporary_objects(cluster, render_namespace(name)):
        # the API server rejects pods until the namespace has its default ServiceAccount
        wait_until(
            lambda: cluster.get("ServiceAccount", "default", name),
            deadline=cluster.deadline.within(_ACCOUNT_SECONDS),
            what=f"the default ServiceAccount of namespace {name}",
            interval=0.1,
        )
        yield name
