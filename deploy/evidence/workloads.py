"""Workloads by their pods: what they start, where they download from, what their logs tell.

One list of pods, and the logs of those that may download or that fail. Secrets are masked; of the
environment only variables that steer downloads are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence.log_lines import select_lines
from deploy.evidence.masking import DOWNLOAD_VARIABLES, is_secret_name, mask_command, mask_text
from deploy.manifests.application import PROOF_ANNOTATION
from deploy.manifests.model import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadContainer:
    """What a container starts, and what decides where it downloads from. Secrets masked.

    ``env`` holds NAME=value of variables that steer uv, pip, models and proxies, no others.
    ``env_maps`` are the ConfigMaps that it takes its environment from.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()  # command and args
    env: tuple[str, ...] = ()
    env_maps: tuple[str, ...] = ()
    init: bool = False

    def get_env(self, name: str) -> str | None:
        pairs = (one.partition("=") for one in self.env)
        return next((value for key, _, value in pairs if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPod:
    """One pod. ``heard`` are the lines of its logs that tell of downloads, secrets masked."""

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int = 0
    trouble: str = ""  # CrashLoopBackOff, Error, …
    heard: tuple[str, ...] = ()

    @property
    def is_failing(self) -> bool:
        return (
            self.phase == "Failed" or bool(self.trouble) or (self.restarts > 0 and not self.ready)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Pods of one owner (or one without), by the first of them.

    ``proof`` is what its pods say of a proved image, empty where they say nothing; ``disproved``:
    the image that runs is another than the one they name.
    """

    kind: str
    namespace: str
    name: str
    containers: tuple[WorkloadContainer, ...]
    pods: tuple[WorkloadPod, ...]
    ndots: int | None = None  # by dnsConfig
    host_network: bool = False
    proof: str = ""
    disproved: bool = False

    @property
    def is_proved(self) -> bool:
        """Whether its image was proved to start with no network."""
        return bool(self.proof) and not self.disproved

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"

    @property
    def log_lines(self) -> tuple[str, ...]:
        """Lines of all its pods, each once."""
        return tuple(dict.fromkeys(line for pod in self.pods for line in pod.heard))


_MOST_LOGS = 60  # containers whose logs are read
_HEAD = 24 * 1024  # bytes of the beginning of a log: there stands what is done at a start
_TAIL = 60  # lines of its end, where it fails
_LOG_SECONDS = 8.0
# commands that may download; an image's own start command is not in the API, so it may too
_PYTHON = re.compile(r"\b(uvx?|pip3?|python[\d.]*|poetry|pdm|hatch|huggingface-cli|spacy)\b")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_workloads(cluster: Cluster, mirror: str) -> tuple[tuple[Workload, ...], tuple[str, ...]]:
    """Workloads, and why parts of them could not be seen. ``mirror`` is its namespace."""
    pods = [pod for pod in cluster.list("Pod") if _counts(pod, mirror)]
    logs, refused = _logs(cluster, pods)
    groups: dict[tuple[str, str, str], list[Object]] = {}
    for pod in pods:
        groups.setdefault(find_owner(pod), []).append(pod)
    found = [_workload(owner, members, logs) for owner, members in sorted(groups.items())]
    return tuple(found), refused


def _counts(pod: Object, mirror: str) -> bool:
    """Not the mirror's own and not those that the nodes run from files."""
    meta = pod["metadata"]
    labels = meta.get("labels", {})
    ours = labels.get("app.kubernetes.io/name") == NAME and meta["namespace"] == mirror
    probe = labels.get("app.kubernetes.io/managed-by") == NAME
    return not (ours or probe or "kubernetes.io/config.mirror" in meta.get("annotations", {}))


def find_owner(pod: Object) -> tuple[str, str, str]:
    """(namespace, kind, name) of what a person wrote: a Deployment, not its ReplicaSet."""
    meta = pod["metadata"]
    space = meta["namespace"]
    owner = next((one for one in meta.get("ownerReferences", ()) if one.get("controller")), None)
    if owner is None:
        return space, "Pod", meta["name"]
    kind, name = owner["kind"], owner["name"]
    mark = meta.get("labels", {}).get("pod-template-hash")
    if kind == "ReplicaSet" and mark and name.endswith(f"-{mark}"):
        return space, "Deployment", name.removesuffix(f"-{mark}")
    if kind == "Job" and (cron := re.fullmatch(r"(.+)-\d{8,}", name)):
        return space, "CronJob", cron[1]
    return space, kind, name


def _workload(
    owner: tuple[str, str, str], members: list[Object], logs: dict[str, tuple[str, ...]]
) -> Workload:
    space, kind, name = owner
    members.sort(key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)
    first = members[0]  # the newest, as the template is now
    spec, meta = first["spec"], first["metadata"]
    options = (spec.get("dnsConfig") or {}).get("options") or ()
    ndots = [one.get("value") for one in options if one.get("name") == "ndots"]
    proof = str({**meta.get("labels", {}), **meta.get("annotations", {})}.get(PROOF_ANNOTATION, ""))
    return Workload(
        kind=kind,
        namespace=space,
        name=name,
        containers=tuple(_containers(spec)),
        pods=tuple(_pod(pod, logs) for pod in members),
        ndots=int(ndots[0]) if ndots and str(ndots[0]).isdigit() else None,
        host_network=bool(spec.get("hostNetwork")),
        proof=proof,
        disproved=_disproved(first, proof),
    )


def _disproved(pod: Object, proof: str) -> bool:
    """Whether the proof names digests and no container runs an image of one of them.

    Nodes tell the image's own digest where it was imported, its manifest's where it was pulled.
    """
    named = set(_DIGEST.findall(proof))
    states = pod.get("status", {}).get("containerStatuses", ())
    run = {one for state in states for one in _DIGEST.findall(state.get("imageID", ""))}
    return bool(named and run) and not named & run


def _containers(spec: Object) -> Iterable[WorkloadContainer]:
    for field in ("initContainers", "containers"):
        for one in spec.get(field, ()):
            maps = [source.get("configMapRef") or {} for source in one.get("envFrom", ())]
            words = [*(one.get("command") or ()), *(one.get("args") or ())]
            yield WorkloadContainer(
                name=one["name"],
                image=one.get("image", ""),
                command=tuple(word[:2000] for word in mask_command(words)),
                env=tuple(_variables(one)),
                env_maps=tuple(found["name"] for found in maps if "name" in found),
                init=field == "initContainers",
            )


def _variables(container: Object) -> Iterable[str]:
    for one in container.get("env", ()):
        name = one["name"]
        if DOWNLOAD_VARIABLES.fullmatch(name) and not is_secret_name(name):
            yield f"{name}={mask_text(one.get('value', ''))}"


def _pod(pod: Object, logs: dict[str, tuple[str, ...]]) -> WorkloadPod:
    meta, status = pod["metadata"], pod.get("status", {})
    states = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return WorkloadPod(
        name=meta["name"],
        node=pod["spec"].get("nodeName", ""),
        phase=status.get("phase", "Unknown"),
        ready=conditions.get("Ready") == "True",
        restarts=sum(one.get("restartCount", 0) for one in states),
        trouble=_trouble(states),
        heard=logs.get(meta["uid"], ()),
    )


def _trouble(states: list[Object]) -> str:
    for one in states:
        state = one.get("state", {})
        reason = state.get("waiting", {}).get("reason", "")
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return str(reason)
        if state.get("terminated", {}).get("exitCode"):
            return f"ended with {state['terminated']['exitCode']}"
    return ""


# -- logs -----------------------------------------------------------------------------------------


def _logs(
    cluster: Cluster, pods: list[Object]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """uid → telling lines, of the pods whose logs are worth reading; those that fail first."""
    wanted = [(pod, state) for pod in pods for state in _worth(pod)]
    wanted.sort(key=lambda pair: not _failed(pair[1]))
    refused: dict[str, None] = {}
    if len(wanted) > _MOST_LOGS:
        refused[f"logs of {len(wanted) - _MOST_LOGS} containers (more than {_MOST_LOGS})"] = None
    found: dict[str, tuple[str, ...]] = {}
    deadline = cluster.deadline.within(_LOG_SECONDS)

    def one(pair: tuple[Object, Object]) -> tuple[str, str]:
        pod, state = pair
        meta = pod["metadata"]
        if deadline.expired:
            refused["some logs: no time was left"] = None
            return meta["uid"], ""
        try:
            return meta["uid"], _read(cluster, meta, state)
        except ApiError as refusal:
            if refusal.status in {401, 403}:
                refused[f"logs: {refusal.why}" if not refused else next(iter(refused))] = None
            return meta["uid"], ""

    with ThreadPoolExecutor(12) as pool:
        for uid, log in pool.map(one, wanted[:_MOST_LOGS]):
            found[uid] = tuple(dict.fromkeys((*found.get(uid, ()), *select_lines(log))))
    return found, tuple(refused)


def _worth(pod: Object) -> Iterable[Object]:
    """States of the containers that have started and may have downloaded."""
    status, spec = pod.get("status", {}), pod["spec"]
    specs = {one["name"]: one for one in [*spec.get("initContainers", ()), *spec["containers"]]}
    for state in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        container = specs.get(state["name"], {})
        words = " ".join([*(container.get("command") or ()), *(container.get("args") or ())])
        steered = any(DOWNLOAD_VARIABLES.fullmatch(one["name"]) for one in container.get("env", ()))
        quiet = bool(words) and not _PYTHON.search(words) and not steered
        if state.get("containerID") and (_failed(state) or not quiet):
            yield state


def _failed(state: Object) -> bool:
    now = state.get("state", {})
    waits = now.get("waiting", {}).get("reason") == "CrashLoopBackOff"
    return bool(waits or state.get("restartCount") or now.get("terminated", {}).get("exitCode"))


def _read(cluster: Cluster, meta: Object, state: Object) -> str:
    """The log of a container that never ended; of one that did, the run that ended too."""
    where, told = (meta["namespace"], meta["name"], state["name"]), []
    if state.get("restartCount"):
        with suppress(ApiError):  # it goes with its container
            told.append(_ends(cluster, where, state, previous=True))
    if not told or "waiting" not in state.get("state", {}):
        told.append(_ends(cluster, where, state, previous=False))
    return "\n".join(told)


def _ends(cluster: Cluster, where: tuple[str, str, str], state: Object, *, previous: bool) -> str:
    """The beginning of a log and, where it fails, its end."""
    head = cluster.read_log(*where, previous=previous, max_bytes=_HEAD)
    if not _failed(state) or len(head) < _HEAD:
        return head
    return head + "\n" + cluster.read_log(*where, previous=previous, lines=_TAIL)


# -- events ---------------------------------------------------------------------------------------
