"""`mirror verify`: a pod beside the volume hashes what is kept, and tells."""

from __future__ import annotations

import json
import secrets
from typing import Any

from deploy.cluster.client import Cluster
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.lifecycle import record
from deploy.manifests.jobs import render_verify_pod
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME, ClusterSettings
from mirror.core.errors import MirrorError, UnfitError
from mirror.core.progress import Progress
from mirror.store.verify import Flaw, VerifyReport


def verify_volume(
    cluster: Cluster, namespace: str, *, repair: bool, progress: Progress
) -> VerifyReport:
    """Hash everything on the mirror's volume, whether it runs or not.

    Raises UnfitError where there is no volume, or no pod that could read it.
    """
    kept = record.read(cluster, namespace)
    if cluster.get("PersistentVolumeClaim", CLAIM_NAME, namespace) is None or kept.endpoint is None:
        raise UnfitError(
            f"there is no mirror in namespace {namespace} of context {cluster.context}",
            why=f"it has no volume {CLAIM_NAME}",
            next_step="mirror up (or name its namespace with --namespace)",
        )
    held = cluster.get("StatefulSet", NAME, namespace)
    image = held["spec"]["template"]["spec"]["containers"][0]["image"] if held else kept.image
    pod = cluster.get("Pod", POD_NAME, namespace)
    node = pod["spec"].get("nodeName", "") if pod else ""
    progress.step(f"verify what is kept on {CLAIM_NAME}" + (f" (node {node})" if node else ""))
    made = render_verify_pod(
        ClusterSettings(image=image or "", namespace=namespace),
        name=f"{NAME}-verify-{secrets.token_hex(3)}",
        node=node,
        repair=repair,
        root_url=kept.endpoint.root_url,
    )

    def seen(name: str) -> None:
        told = _last(cluster.tail_log(namespace, name, "probe", lines=1))
        if "done" in told:
            progress.count(told["done"], told["total"], told["name"])

    (run,) = run_pods(cluster, [made], cluster.deadline, on_running=seen)
    return _report(run)


def _report(run: PodRun) -> VerifyReport:
    told = _last(run.output)
    if "report" in told:
        report = told["report"]
        return VerifyReport(**{**report, "flaws": tuple(Flaw(**one) for one in report["flaws"])})
    raise MirrorError(
        "what is kept could not be verified",
        why=str(told.get("error") or run.why or run.output.strip()[-600:]),
        next_step="see `mirror status`, mend what is said above, and run it again "
        "(with a longer --timeout where there is much)",
    )


def _last(log: str) -> dict[str, Any]:
    """The last line of a program of ours; empty where it is no JSON object."""
    try:
        told = json.loads((log.strip().splitlines() or [""])[-1])
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
