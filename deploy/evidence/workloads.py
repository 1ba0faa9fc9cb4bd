"""Workloads: what their pods start, where they download from, and what their logs say.

Reads one list of pods, and the logs of those that may download or that fail. Secrets are masked;
of the environment only the variables that configure downloads are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import (
    get_all_containers,
    get_container_statuses,
    get_controller,
    get_name,
    is_ready,
)
from deploy.evidence.isolation import EgressRules, read_egress_rules
from deploy.evidence.log_lines import select_lines
from deploy.evidence.masking import DOWNLOAD_VARIABLES, is_secret_name, mask_command, mask_text
from deploy.evidence.pods import get_variable
from deploy.manifests.application import PROOF_ANNOTATION
from deploy.manifests.model import NAME
from mirror.core.codec import json_key
from mirror.core.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadContainer:
    """What a container starts, and its download configuration; secrets are masked.

    ``env`` holds NAME=value of the variables that configure uv, pip, models and proxies.
    ``env_maps`` are the ConfigMaps that its environment comes from.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()  # command and args
    env: tuple[str, ...] = ()
    env_maps: tuple[str, ...] = ()
    init: bool = False

    @property
    def command_line(self) -> str:
        """Its command and arguments, separated by spaces."""
        return " ".join(self.command)

    def get_env(self, name: str) -> str | None:
        """Return the value of an environment variable; None if it is not set."""
        return get_variable(self.env, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPod:
    """One pod. ``log_lines`` are the lines of its logs about downloads; secrets are masked."""

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int = 0
    trouble: str = ""  # CrashLoopBackOff, Error, …
    log_lines: tuple[str, ...] = field(default=(), metadata=json_key("heard"))

    @property
    def is_failing(self) -> bool:
        """Whether it failed, cannot start, or restarted and is not Ready."""
        if self.phase == "Succeeded":
            return False  # a Job's container may have been started again before
        restarts = self.restarts > 0 and not self.ready
        return restarts or self.phase == "Failed" or bool(self.trouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The pods of one owner, the newest first, or one pod without an owner.

    The newest pod describes it.

    ``proof`` is the pods' annotation about a proven image, empty if there is none.
    ``runs_other_image``: the annotation names another image than the one that runs.
    ``isolated_by`` are the NetworkPolicies that keep its pods from the mirror.
    """

    kind: str
    namespace: str
    name: str
    containers: tuple[WorkloadContainer, ...]
    pods: tuple[WorkloadPod, ...]
    ndots: int | None = None  # of its dnsConfig
    host_network: bool = False
    proof: str = ""
    runs_other_image: bool = field(default=False, metadata=json_key("disproved"))
    isolated_by: tuple[str, ...] = ()

    @property
    def failing_pods(self) -> tuple[WorkloadPod, ...]:
        """The pods that fail now.

        One that has ended and was replaced is no longer of interest: its node was drained or shut
        down, or its Job tried again.
        """
        return tuple(
            pod
            for pod in self.pods
            if pod.is_failing and (pod.phase != "Failed" or pod is self.pods[0])
        )

    @property
    def is_proved(self) -> bool:
        """Whether its image is proved to start without a network."""
        return bool(self.proof) and not self.runs_other_image

    @property
    def target(self) -> str:
        """KIND/NAME, as commands take it."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def title(self) -> str:
        """NAMESPACE/KIND/NAME."""
        return f"{self.namespace}/{self.target}"

    @property
    def log_lines(self) -> tuple[str, ...]:
        """The log lines of all its pods, without duplicates."""
        return tuple(dict.fromkeys(line for pod in self.pods for line in pod.log_lines))


_MAX_LOGS = 60  # containers whose logs are read
_HEAD_BYTES = 24 * 1024  # of the beginning of a log, where downloads at start-up are
_TAIL_LINES = 60  # of the end of a log, where the failure is
_LOG_SECONDS = 8.0
# Programs that may download. An image's default command is not in the API, so it may download too.
_DOWNLOADERS = re.compile(r"\b(uvx?|pip3?|python[\d.]*|poetry|pdm|hatch|huggingface-cli|spacy)\b")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_workloads(
    cluster: Cluster, mirror_namespace: str
) -> tuple[tuple[Workload, ...], tuple[str, ...]]:
    """Return the workloads, and why parts of them could not be seen."""
    pods = [pod for pod in cluster.list("Pod") if _is_workload(pod, mirror_namespace)]
    logs, gaps = _read_logs(cluster, pods)
    groups: dict[tuple[str, str, str], list[Object]] = {}
    for pod in pods:
        groups.setdefault(find_owner(pod), []).append(pod)
    rules = EgressRules(policies={}, mirror=None)
    try:
        rules = read_egress_rules(cluster, mirror_namespace)
    except (ApiError, RefusedError) as error:
        gaps = (*gaps, f"NetworkPolicies: {error.why}")
    workloads = [
        _read_workload(owner, members, logs, rules) for owner, members in sorted(groups.items())
    ]
    return tuple(workloads), gaps


def find_owner(pod: Object) -> tuple[str, str, str]:
    """Return (namespace, kind, name) of the object a user wrote: Deployment, not ReplicaSet."""
    metadata = pod["metadata"]
    namespace = metadata["namespace"]
    owner = get_controller(pod)
    if owner is None:
        return namespace, "Pod", metadata["name"]
    kind, name = owner["kind"], owner["name"]
    template_hash = metadata.get("labels", {}).get("pod-template-hash")
    if kind == "ReplicaSet" and template_hash and name.endswith(f"-{template_hash}"):
        return namespace, "Deployment", name.removesuffix(f"-{template_hash}")
    if kind == "Job" and (cron_job := re.fullmatch(r"(.+)-\d{8,}", name)):
        return namespace, "CronJob", cron_job[1]
    return namespace, kind, name


def _is_workload(pod: Object, mirror_namespace: str) -> bool:
    """Whether the pod is neither part of the mirror nor a static pod of a node."""
    metadata = pod["metadata"]
    labels = metadata.get("labels", {})
    is_named = labels.get("app.kubernetes.io/name") == NAME
    is_managed = labels.get("app.kubernetes.io/managed-by") == NAME
    is_static = "kubernetes.io/config.mirror" in metadata.get("annotations", {})
    is_mirror = is_managed or (is_named and metadata["namespace"] == mirror_namespace)
    return not (is_mirror or is_static)


def _read_workload(
    owner: tuple[str, str, str],
    pods: list[Object],
    logs: dict[str, tuple[str, ...]],
    rules: EgressRules,
) -> Workload:
    namespace, kind, name = owner
    pods.sort(key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)
    newest = pods[0]  # the one that matches the current template
    spec, metadata = newest["spec"], newest["metadata"]
    options = (spec.get("dnsConfig") or {}).get("options") or ()
    ndots = {option.get("name"): str(option.get("value")) for option in options}.get("ndots", "")
    marks = {**metadata.get("labels", {}), **metadata.get("annotations", {})}
    proof = str(marks.get(PROOF_ANNOTATION, ""))
    return Workload(
        kind=kind,
        namespace=namespace,
        name=name,
        containers=tuple(_read_containers(spec)),
        pods=tuple(_read_pod(pod, logs) for pod in pods),
        ndots=int(ndots) if ndots.isdigit() else None,
        host_network=bool(spec.get("hostNetwork")),
        proof=proof,
        runs_other_image=_runs_other_image(newest, proof),
        isolated_by=rules.list_denying(namespace, metadata.get("labels", {})),
    )


def _runs_other_image(pod: Object, proof: str) -> bool:
    """Whether the proof names digests and no container runs an image with one of them.

    A node reports the digest of the image if it was imported, of its manifest if it was pulled.
    """
    proved = set(_DIGEST.findall(proof))
    statuses = pod.get("status", {}).get("containerStatuses", ())
    running = set(_DIGEST.findall(" ".join(status.get("imageID", "") for status in statuses)))
    return bool(proved and running) and not proved & running


def _read_containers(spec: Object) -> Iterator[WorkloadContainer]:
    for key in ("initContainers", "containers"):
        for container in spec.get(key, ()):
            # with a prefix, the variables have other names
            sources = [each for each in container.get("envFrom", ()) if not each.get("prefix")]
            maps = [source.get("configMapRef") or {} for source in sources]
            yield WorkloadContainer(
                name=container["name"],
                image=container.get("image", ""),
                command=tuple(word[:2000] for word in mask_command(_get_command(container))),
                env=tuple(_read_variables(container)),
                env_maps=tuple(ref["name"] for ref in maps if "name" in ref),
                init=key == "initContainers",
            )


def _get_command(container: Object) -> list[str]:
    return [*(container.get("command") or ()), *(container.get("args") or ())]


def _read_variables(container: Object) -> Iterator[str]:
    for variable in container.get("env", ()):
        name = variable["name"]
        if DOWNLOAD_VARIABLES.fullmatch(name) and not is_secret_name(name):
            yield f"{name}={mask_text(variable.get('value', ''))}"


def _read_pod(pod: Object, logs: dict[str, tuple[str, ...]]) -> WorkloadPod:
    statuses = get_container_statuses(pod)
    return WorkloadPod(
        name=get_name(pod),
        node=pod["spec"].get("nodeName", ""),
        phase=pod.get("status", {}).get("phase", "Unknown"),
        ready=is_ready(pod),
        restarts=sum(status.get("restartCount", 0) for status in statuses),
        trouble=_explain_trouble(statuses),
        log_lines=logs.get(pod["metadata"]["uid"], ()),
    )


def _explain_trouble(statuses: list[Object]) -> str:
    for status in statuses:
        state = status.get("state", {})
        reason = state.get("waiting", {}).get("reason", "")
        if reason and reason not in {"ContainerCreating", "PodInitializing"}:
            return str(reason)
        if state.get("terminated", {}).get("exitCode"):
            return f"exited with {state['terminated']['exitCode']}"
    return ""


# -- logs -----------------------------------------------------------------------------------------


def _read_logs(
    cluster: Cluster, pods: list[Object]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return pod uid → log lines about downloads, and why logs were not read.

    Reads the containers that have started and may have downloaded, failing ones first.
    """
    containers = [(pod, status) for pod in pods for status in _select_containers(pod)]
    containers.sort(key=lambda pair: not _is_failing(pair[1]))
    gaps: dict[str, None] = {}
    if len(containers) > _MAX_LOGS:
        gaps[f"logs of {len(containers) - _MAX_LOGS} containers (more than {_MAX_LOGS})"] = None
    lines: dict[str, tuple[str, ...]] = {}
    deadline = cluster.deadline.within(_LOG_SECONDS)

    def read(container: tuple[Object, Object]) -> tuple[str, str]:
        pod, status = container
        uid = pod["metadata"]["uid"]
        if deadline.expired:
            gaps["some logs: time ran out"] = None
            return uid, ""
        try:
            return uid, _read_log(cluster, pod["metadata"], status)
        except ApiError as error:
            if error.status in {401, 403}:
                gaps[f"logs: {error.why}" if not gaps else next(iter(gaps))] = None
            return uid, ""

    with ThreadPoolExecutor(12) as pool:
        for uid, log in pool.map(read, containers[:_MAX_LOGS]):
            lines[uid] = tuple(dict.fromkeys((*lines.get(uid, ()), *select_lines(log))))
    return lines, tuple(gaps)


def _select_containers(pod: Object) -> Iterator[Object]:
    """Yield the statuses of the containers that have started and may have downloaded."""
    containers = {container["name"]: container for container in get_all_containers(pod["spec"])}
    for status in get_container_statuses(pod):
        container = containers.get(status["name"], {})
        command = " ".join(_get_command(container))
        is_configured = any(
            DOWNLOAD_VARIABLES.fullmatch(variable["name"]) for variable in container.get("env", ())
        )
        cannot_download = bool(command) and not _DOWNLOADERS.search(command) and not is_configured
        if status.get("containerID") and (_is_failing(status) or not cannot_download):
            yield status


def _is_failing(status: Object) -> bool:
    state = status.get("state", {})
    is_waiting = state.get("waiting", {}).get("reason") == "CrashLoopBackOff"
    exit_code = state.get("terminated", {}).get("exitCode")
    return bool(is_waiting or status.get("restartCount") or exit_code)


def _read_log(cluster: Cluster, metadata: Object, status: Object) -> str:
    """Return the log of a container; if it has restarted, with the log of the previous run."""
    container = (metadata["namespace"], metadata["name"], status["name"])
    logs = []
    if status.get("restartCount"):
        with suppress(ApiError):  # the log is deleted with its container
            logs.append(_read_ends(cluster, container, status, previous=True))
    if not logs or "waiting" not in status.get("state", {}):
        logs.append(_read_ends(cluster, container, status, previous=False))
    return "\n".join(logs)


def _read_ends(
    cluster: Cluster, container: tuple[str, str, str], status: Object, *, previous: bool
) -> str:
    """Return the beginning of a log and, if the container is failing, its end."""
    head = cluster.read_log(*container, previous=previous, max_bytes=_HEAD_BYTES)
    if not _is_failing(status) or len(head) < _HEAD_BYTES:
        return head
    return head + "\n" + cluster.read_log(*container, previous=previous, lines=_TAIL_LINES)
