"""What a bug report needs, in one archive: evidence, findings, objects, events, logs; no secrets.

Secrets are never read. Of everything else secrets are masked (deploy/evidence/masking.py).
"""

from __future__ import annotations

import io
import json
import platform
import tarfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.cluster.api_resources import API_RESOURCES, kind_name
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence.masking import mask_object, mask_text
from deploy.evidence.model import Evidence
from deploy.findings.model import DoctorReport
from mirror.core.codec import dump
from mirror.core.errors import ClusterError, InputError
from mirror.core.progress import SILENT, Progress

_SYSTEM = "kube-system"
_LINES = 150  # of each log, the last ones
_SECONDS = 30.0
_CALICO = [key for key in API_RESOURCES if kind_name(key) in {"IPPool", "FelixConfiguration"}]
_WHOLE = ("Node", *_CALICO, "Installation", "StorageClass")
_OF_SYSTEM = ("DaemonSet", "Deployment", "Service")
_OF_MIRROR = (
    "StatefulSet",
    "Service",
    "PersistentVolumeClaim",
    "ConfigMap",
    "NetworkPolicy",
    "Pod",
)
_MAPS = ("coredns", "coredns-custom", "calico-config")  # of kube-system; others may hold anything
_SPEAK = ("coredns", "calico", "kube-dns")  # pods of kube-system whose logs are taken
_README = """What `mirror doctor --bundle` has gathered, for a bug report.

findings.json   what was concluded
evidence.json   what was seen: `mirror doctor --from evidence.json` judges it again
versions.json   of the program and of the cluster
objects/        of the nodes, of Calico, of DNS, and of the mirror
events.json     warnings
logs/           the last lines of the mirror, CoreDNS and Calico

No Secret was read. Passwords, tokens, private keys, users in URLs and the values of environment
variables are replaced by ***. Names and addresses are as they are: look through it before you
give it away.
"""


def write_bundle(
    path: Path,
    evidence: Evidence,
    report: DoctorReport,
    cluster: Cluster | None,
    namespace: str,
    progress: Progress = SILENT,
) -> tuple[str, ...]:
    """Write the archive (mode 0600) and return the names in it.

    Without a cluster (evidence from a file) it holds evidence and findings only. What may not be
    read is listed in missing.txt. Raises InputError where the file cannot be written.
    """
    files: dict[str, str] = {
        "README.txt": _README,
        "evidence.json": _json(mask_object(dump(evidence))),
        "findings.json": _json(mask_object(dump(report))),
        "versions.json": _json(_versions(evidence)),
    }
    if cluster is not None:
        progress.step("gather objects, events and logs for the bundle")
        files |= _gather(cluster, namespace)
    _write(path, files)
    return tuple(files)


def _versions(evidence: Evidence) -> Mapping[str, Any]:
    access = dump(evidence.access)
    return {
        "pypi-mirror": version("pypi-mirror"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "kubernetes": access.get("version") if isinstance(access, dict) else None,
        "nodes": mask_object(dump(evidence.nodes)),
    }


def _gather(cluster: Cluster, namespace: str) -> dict[str, str]:
    files: dict[str, str] = {}
    missing: list[str] = []
    deadline = cluster.deadline.within(_SECONDS)
    wanted: list[tuple[str, str | None]] = [(kind, None) for kind in _WHOLE]
    wanted += [(kind, _SYSTEM) for kind in (*_OF_SYSTEM, "Pod")]
    wanted += [(kind, namespace) for kind in _OF_MIRROR]
    wanted += [("Event", None)]

    def listed(asked: tuple[str, str | None]) -> list[Object]:
        kind, where = asked
        try:
            return [{**one, "kind": kind} for one in cluster.list(kind, where)]
        except ApiError as refusal:
            if refusal.status != 404:
                missing.append(f"{kind} in {where or 'the cluster'}: {refusal.why}")
        except ClusterError as broken:
            missing.append(f"{kind} in {where or 'the cluster'}: {broken}")
        return []

    def named(name: str) -> list[Object]:
        try:
            found = cluster.get("ConfigMap", name, _SYSTEM)
        except ClusterError as broken:
            missing.append(f"ConfigMap {_SYSTEM}/{name}: {broken.why or broken}")
            return []
        return [{**found, "kind": "ConfigMap"}] if found else []

    with ThreadPoolExecutor(8) as pool:
        objects = [one for found in pool.map(listed, wanted) for one in found]
        objects += [one for found in pool.map(named, _MAPS) for one in found]
        events = [one for one in objects if one["kind"] == "Event"]
        pods = [one for one in objects if one["kind"] == "Pod"]
        for obj in objects:
            if obj["kind"] != "Event":
                meta = obj["metadata"]
                where = f"{meta['namespace']}/" if meta.get("namespace") else ""
                files[f"objects/{obj['kind']}/{where}{meta['name']}.json"] = _json(mask_object(obj))
        warnings = [mask_object(one) for one in events if one.get("type") != "Normal"]
        files["events.json"] = _json(warnings)
        jobs = list(_speakers(pods, namespace))
        for (where, pod, container), log in zip(
            jobs,
            pool.map(
                lambda job: "" if deadline.expired else cluster.tail_log(*job, lines=_LINES), jobs
            ),
            strict=True,
        ):
            files[f"logs/{where}/{pod}/{container}.log"] = mask_text(log)
    if missing:
        files["missing.txt"] = "\n".join(map(mask_text, missing)) + "\n"
    return files


def _speakers(pods: list[Object], namespace: str) -> Iterator[tuple[str, str, str]]:
    """Containers whose logs belong to it: the mirror's, CoreDNS' and Calico's."""
    for pod in pods:
        meta, spec = pod["metadata"], pod["spec"]
        ours = meta["namespace"] == namespace
        if ours or any(meta["name"].startswith(word) for word in _SPEAK):
            for one in [*spec.get("initContainers", ()), *spec["containers"]]:
                yield meta["namespace"], meta["name"], one["name"]


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write(path: Path, files: Mapping[str, str]) -> None:
    top = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(buffer.getvalue())
    except OSError as broken:
        raise InputError(f"{path} cannot be written", why=str(broken)) from broken
