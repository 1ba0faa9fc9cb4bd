"""One archive for a bug report: evidence, findings, objects, events and logs, without secrets.

Secrets are never read. Secret values in everything else are masked (deploy/evidence/masking.py).
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deploy.cluster.api_resources import API_RESOURCES, kind_name
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_all_containers, get_name
from deploy.evidence.masking import mask_object, mask_text
from deploy.evidence.model import Evidence
from deploy.findings.model import DoctorReport
from mirror.core.codec import dump
from mirror.core.errors import ClusterError, InputError
from mirror.core.progress import SILENT, Progress
from mirror.version import VERSION

_SYSTEM = "kube-system"
_LOG_LINES = 150  # the last ones of each log
_SECONDS = 30.0
_CALICO_KINDS = [key for key in API_RESOURCES if kind_name(key) in {"IPPool", "FelixConfiguration"}]
_CLUSTER_KINDS = ("Node", *_CALICO_KINDS, "Installation", "StorageClass", "Event")
_SYSTEM_KINDS = ("DaemonSet", "Deployment", "Service", "Pod")
_MIRROR_KINDS = (
    "StatefulSet",
    "Service",
    "PersistentVolumeClaim",
    "ConfigMap",
    "NetworkPolicy",
    "Pod",
)
# ConfigMaps of kube-system; other ConfigMaps there may contain anything
_CONFIG_MAPS = ("coredns", "coredns-custom", "calico-config")
_LOGGED_PODS = ("coredns", "calico", "kube-dns")  # prefixes of pods in kube-system
_README = """Collected by `mirror doctor --bundle` for a bug report.

findings.json   the findings
evidence.json   the evidence: `mirror doctor --from evidence.json` judges it again
versions.json   the versions of the program and of the cluster
objects/        nodes, and the objects of Calico, DNS and the mirror
events.json     warning events
logs/           the last lines of the logs of the mirror, CoreDNS and Calico

No Secret was read. Passwords, tokens, private keys, users in URLs and the values of environment
variables are replaced by ***. Names and addresses are not masked: check the files before you
share them.
"""


def write_bundle(
    path: Path,
    evidence: Evidence,
    report: DoctorReport,
    cluster: Cluster | None,
    namespace: str,
    progress: Progress = SILENT,
) -> tuple[str, ...]:
    """Write the archive (mode 0600) and return the names of the files in it.

    Without a cluster (evidence from a file), it contains evidence and findings only. Objects that
    may not be read are listed in missing.txt. Raises InputError if the file cannot be written.
    """
    files: dict[str, str] = {
        "README.txt": _README,
        "evidence.json": _format_json(mask_object(dump(evidence))),
        "findings.json": _format_json(mask_object(dump(report))),
        "versions.json": _format_json(_collect_versions(evidence)),
    }
    if cluster is not None:
        progress.step("collect objects, events and logs for the bundle")
        files |= _collect_files(cluster, namespace)
    _write_archive(path, files)
    return tuple(files)


def _collect_versions(evidence: Evidence) -> Mapping[str, Any]:
    access = dump(evidence.access)
    return {
        "pypi-mirror": VERSION,
        "python": platform.python_version(),
        "system": platform.platform(),
        "kubernetes": access.get("version") if isinstance(access, dict) else None,
        "nodes": mask_object(dump(evidence.nodes)),
    }


def _collect_files(cluster: Cluster, namespace: str) -> dict[str, str]:
    missing: list[str] = []
    deadline = cluster.deadline.within(_SECONDS)

    def read_log(container: tuple[str, str, str]) -> str:
        return "" if deadline.expired else cluster.tail_log(*container, lines=_LOG_LINES)

    listed: list[tuple[str, str | None]] = [  # kind, namespace or None for the whole cluster
        *((kind, None) for kind in _CLUSTER_KINDS),
        *((kind, _SYSTEM) for kind in _SYSTEM_KINDS),
        *((kind, namespace) for kind in _MIRROR_KINDS),
    ]
    with ThreadPoolExecutor(8) as pool:
        listings = pool.map(lambda each: _list_objects(cluster, missing, *each), listed)
        config_maps = pool.map(lambda name: _get_config_map(cluster, name, missing), _CONFIG_MAPS)
        objects = [obj for listing in (*listings, *config_maps) for obj in listing]
        pods = [obj for obj in objects if obj["kind"] == "Pod"]
        containers = list(_iter_containers(pods, namespace))
        logs = dict(zip(containers, pool.map(read_log, containers), strict=True))

    events = [obj for obj in objects if obj["kind"] == "Event" and obj.get("type") != "Normal"]
    files = dict(_format_objects(obj for obj in objects if obj["kind"] != "Event"))
    files["events.json"] = _format_json([mask_object(event) for event in events])
    for (pod_namespace, pod, container), log in logs.items():
        files[f"logs/{pod_namespace}/{pod}/{container}.log"] = mask_text(log)
    if missing:
        files["missing.txt"] = "\n".join(map(mask_text, missing)) + "\n"
    return files


def _list_objects(
    cluster: Cluster, missing: list[str], kind: str, namespace: str | None
) -> list[Object]:
    try:
        return [{**obj, "kind": kind} for obj in cluster.list(kind, namespace)]
    except ClusterError as error:
        if not isinstance(error, ApiError) or error.status != 404:
            missing.append(f"{kind} in {namespace or 'the cluster'}: {error.why or error}")
        return []


def _get_config_map(cluster: Cluster, name: str, missing: list[str]) -> list[Object]:
    try:
        config_map = cluster.get("ConfigMap", name, _SYSTEM)
    except ClusterError as error:
        missing.append(f"ConfigMap {_SYSTEM}/{name}: {error.why or error}")
        return []
    return [{**config_map, "kind": "ConfigMap"}] if config_map else []


def _format_objects(objects: Iterable[Object]) -> Iterator[tuple[str, str]]:
    for obj in objects:
        namespace = obj["metadata"].get("namespace")
        folder = f"{obj['kind']}/{namespace}" if namespace else obj["kind"]
        yield f"objects/{folder}/{get_name(obj)}.json", _format_json(mask_object(obj))


def _iter_containers(pods: list[Object], namespace: str) -> Iterator[tuple[str, str, str]]:
    """Yield (namespace, pod, container) of the mirror's, CoreDNS' and Calico's logs."""
    for pod in pods:
        name = get_name(pod)
        is_mirror = pod["metadata"]["namespace"] == namespace
        if is_mirror or name.startswith(_LOGGED_PODS):
            for container in get_all_containers(pod["spec"]):
                yield pod["metadata"]["namespace"], name, container["name"]


def _format_json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write_archive(path: Path, files: Mapping[str, str]) -> None:
    folder = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                content = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        raise InputError(f"cannot write {path}", why=str(error)) from error
