"""Pods on every node that wait until DNS answers as it should."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.evidence.dns import probe_namespace
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.manifests.model import NAME, ClusterSettings
from deploy.manifests.pods import render_probe_pod
from mirror.core.codec import load
from mirror.core.errors import WaitTimeout
from mirror.core.progress import Progress
from mirror.probe.expectations import ExpectationReport
from mirror.probe.model import ExpectedAnswer

_START = 30.0  # seconds for a pod to start, besides the waiting itself


def await_answers(
    cluster: Cluster,
    image: str,
    home: str,
    nodes: Sequence[str],
    questions: Sequence[ExpectedAnswer],
    servers: Sequence[str],
    seconds: float,
    progress: Progress,
) -> Mapping[str, MaybeSeen[ExpectationReport]]:
    """Node → what a pod there still misses after at most ``seconds``.

    Asked are the pod's own nameserver and, besides, ``servers`` (the DNS pods by address, since
    each of them takes a change up in its own time).
    """
    if not nodes or not questions:
        return {}
    progress.step("wait until pods on each node are answered so")
    try:
        with probe_namespace(cluster, home) as where:
            pods = [_pod(image, where, node, questions, servers, seconds) for node in nodes]
            deadline = cluster.deadline.within(seconds + _START)
            runs = run_pods(cluster, pods, deadline, lambda done: progress.count(done, len(pods)))
    except (ApiError, WaitTimeout) as refused:
        return dict.fromkeys(nodes, Unseen(reason=refused.why or refused.what))
    return {node: _read(run) for node, run in zip(nodes, runs, strict=True)}


def _pod(
    image: str,
    namespace: str,
    node: str,
    questions: Sequence[ExpectedAnswer],
    servers: Sequence[str],
    seconds: float,
) -> Object:
    settings = replace(ClusterSettings(image=image), namespace=namespace)
    command = ["python3", "-m", "mirror.probe", "expect", "--seconds", str(seconds)]
    for server in servers:
        command += ["--server", server]
    command += [f"{one.name}/{one.qtype}/{one.answer}" for one in questions]
    mark = secrets.token_hex(3)
    return render_probe_pod(settings, name=f"{NAME}-proof-{mark}", node=node, command=command)


def _read(run: PodRun) -> MaybeSeen[ExpectationReport]:
    if not run.succeeded:
        return Unseen(
            reason=run.why or f"the probe ended with {run.exit_code}: {run.output[-300:]}"
        )
    try:
        return load(ExpectationReport, json.loads(run.output))
    except ValueError as broken:
        return Unseen(reason=f"the probe's answer cannot be read ({broken}): image too old or new?")
