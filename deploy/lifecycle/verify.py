"""`mirror verify`: hash the files on the mirror's volume in a pod."""

from __future__ import annotations

import json
import secrets
from typing import Any

from deploy.cluster.client import Cluster
from deploy.cluster.objects import get_image
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.lifecycle import connect, record
from deploy.manifests.jobs import render_verify_pod
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME, ClusterSettings
from mirror.core.codec import load
from mirror.core.errors import MirrorError
from mirror.core.progress import Progress
from mirror.store.verify import VerifyReport


def verify_volume(
    cluster: Cluster, namespace: str, *, repair: bool, progress: Progress
) -> VerifyReport:
    """Hash every file on the mirror's volume, whether the mirror runs or not.

    Raises UnfitError if there is no volume, MirrorError if no pod could read it.
    """
    mirror_record = record.read(cluster, namespace)
    endpoint = mirror_record.endpoint
    if cluster.get("PersistentVolumeClaim", CLAIM_NAME, namespace) is None or endpoint is None:
        raise connect.no_mirror_error(cluster, namespace, f"it has no volume {CLAIM_NAME}")
    stateful_set = cluster.get("StatefulSet", NAME, namespace)
    image = get_image(stateful_set) if stateful_set else mirror_record.image or ""
    mirror_pod = cluster.get("Pod", POD_NAME, namespace)
    node = mirror_pod["spec"].get("nodeName", "") if mirror_pod else ""
    progress.step(f"verify the files on {CLAIM_NAME}" + (f" (node {node})" if node else ""))
    pod = render_verify_pod(
        ClusterSettings(
            image=image,
            namespace=namespace,
            pull_secret=mirror_record.settings.get("pull_secret"),
        ),
        name=f"{NAME}-verify-{secrets.token_hex(3)}",
        node=node,
        repair=repair,
        root_url=endpoint.root_url,
    )

    def show_progress(name: str) -> None:
        message = _parse_last_line(cluster.tail_log(namespace, name, "probe", lines=1))
        if "done" in message:
            progress.count(message["done"], message["total"], message["name"])

    (run,) = run_pods(cluster, [pod], cluster.deadline, on_running=show_progress)
    return _parse_report(run)


def _parse_report(run: PodRun) -> VerifyReport:
    message = _parse_last_line(run.output)
    if "report" in message:
        return load(VerifyReport, message["report"])
    raise MirrorError(
        "the files of the mirror could not be verified",
        why=str(message.get("error") or run.why or run.output.strip()[-600:]),
        next_step="see `mirror status`, fix the cause above, and run it again "
        "(with a longer --timeout if there are many files)",
    )


def _parse_last_line(log: str) -> dict[str, Any]:
    """The JSON object in the last line of a log; empty if there is none."""
    try:
        message = json.loads((log.strip().splitlines() or [""])[-1])
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
