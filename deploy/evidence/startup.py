"""What workloads download when they start, by their commands, variables and logs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.log_lines import filter_lines
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.evidence.workloads import Workload, WorkloadContainer
from deploy.manifests.model import ENV_MAP

INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_TRUE = {"1", "true", "yes", "on"}
_INSTALLS = re.compile(
    r"\b(uvx\s+[\w.\[-]|uv\s+(-\S+\s+)*(run|sync|pip\s+(install|sync)|tool\s+(run|install)|add)\b"
    r"|(pip3?|python[\d.]*\s+-m\s+pip)\s+(-\S+\s+)*install\b"
    r"|(poetry|pdm)\s+(-\S+\s+)*install\b|pipx\s+(run|install)\b|hatch\s+run\b)"
)
_UV_SYNCS = re.compile(r"\buv\s+(-\S+\s+)*(run|sync)\b")
_NO_DOWNLOADS = re.compile(r"(?<!\S)(--no-sync|--offline)(?!\S)")
_INDEX = re.compile(r"(?:--index-url|--default-index|-i)[=\s]+(\S+)")
_FROZEN = re.compile(r"(?<!\S)--frozen(?!\S)")
_PYTHON = re.compile(r"\buv\s+python\s+install\b|\buv\w*\s[^|;&]*--managed-python\b")
_MODELS = re.compile(
    r"\b(spacy\s+download|huggingface-cli\s+download|hf\s+download|nltk\.downloader"
    r"|whisper(\s|$)|from_pretrained|snapshot_download|hf_hub_download)"
)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def find_package_installs(workload: Workload) -> tuple[str, ...]:
    """Return the evidence that a workload installs packages when it starts; empty if none."""
    evidence = []
    for container in workload.containers:
        command = _join_command(container)
        match = _INSTALLS.search(command)
        if not match or _NO_DOWNLOADS.search(command) or _is_enabled(container, "UV_OFFLINE"):
            continue
        if _UV_SYNCS.match(match[0]) and _is_enabled(container, "UV_NO_SYNC"):
            continue
        evidence.append(_describe_start(container))
    return (*evidence, *filter_lines(workload.log_lines, "packages")[:3])


def find_python_downloads(workload: Workload) -> tuple[str, ...]:
    """Return the evidence that a workload downloads Python itself when it starts."""
    evidence = [
        _describe_start(container)
        for container in workload.containers
        if _PYTHON.search(_join_command(container))
        and container.get_env("UV_PYTHON_DOWNLOADS") != "never"
    ]
    return (*evidence, *filter_lines(workload.log_lines, "python")[:3])


def find_model_downloads(workload: Workload) -> tuple[str, ...]:
    """Return the evidence that a workload downloads models when it starts."""
    evidence = [
        _describe_start(container)
        for container in workload.containers
        if _MODELS.search(_join_command(container))
        and not any(_is_enabled(container, name) for name in _OFFLINE)
    ]
    return (*evidence, *filter_lines(workload.log_lines, "models")[:3])


def find_index_url(container: WorkloadContainer) -> str | None:
    """Return the index that a container installs from: its command overrides its variables."""
    match = _INDEX.search(_join_command(container))
    if match:
        return match[1]
    urls = (container.get_env(name) for name in INDEX_VARIABLES)
    return next((url for url in urls if url is not None), None)


def sets_index_in_command(container: WorkloadContainer) -> bool:
    """Whether its command names an index, which overrides the environment."""
    return bool(_INDEX.search(_join_command(container)))


def uses_mirror(container: WorkloadContainer, mirror: MirrorState | None) -> bool:
    """Whether the container installs from the mirror."""
    url = find_index_url(container)
    if url is not None:
        return bool(mirror and mirror.recorded_address and f"//{mirror.recorded_address}:" in url)
    return ENV_MAP in container.env_maps


def ignores_index(container: WorkloadContainer) -> bool:
    """Whether it runs `uv … --frozen`, which downloads from the URLs in the lock."""
    command = _join_command(container)
    is_frozen = _FROZEN.search(command) or _is_enabled(container, "UV_FROZEN")
    syncs = _UV_SYNCS.search(command) and not _NO_DOWNLOADS.search(command)
    return bool(is_frozen and syncs) and not _is_enabled(container, "UV_NO_SYNC")


def iter_installers(workload: Workload) -> Iterator[WorkloadContainer]:
    """Yield the containers that install packages; all of them if only the logs show it."""
    installers = [
        container for container in workload.containers if _INSTALLS.search(_join_command(container))
    ]
    yield from installers or workload.containers


def get_mirror(evidence: Evidence) -> MirrorState | None:
    """Return the mirror; None if it could not be seen."""
    return None if isinstance(evidence.mirror, Unseen) else evidence.mirror


def format_target(workload: Workload) -> str:
    """Return KIND/NAME, as commands take it."""
    return f"{workload.kind.lower()}/{workload.name}"


def _join_command(container: WorkloadContainer) -> str:
    return " ".join(container.command)


def _is_enabled(container: WorkloadContainer, name: str) -> bool:
    return (container.get_env(name) or "").lower() in _TRUE


def _describe_start(container: WorkloadContainer, max_length: int = 120) -> str:
    command = " ".join(_join_command(container).split())
    if len(command) > max_length:
        command = command[:max_length] + " …"
    return f"container {container.name} starts: {command}"
