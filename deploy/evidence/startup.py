"""What workloads download when they start, by their commands, variables and logs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from deploy.evidence.log_lines import filter_lines
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.evidence.workloads import Workload, WorkloadContainer
from deploy.manifests.model import ENV_MAP
from mirror.http_pool import bypasses_proxy

DownloadKind: TypeAlias = Literal["packages", "python", "models"]

INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_NO_PROXY = ("NO_PROXY", "no_proxy")
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
_MAX_COMMAND = 120  # characters that are shown
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def find_downloads(workload: Workload, kind: DownloadKind) -> tuple[str, ...]:
    """Return the evidence that a workload downloads when it starts; empty if there is none."""
    downloads = _DOWNLOADS[kind]
    starts = (_describe_start(each) for each in workload.containers if downloads(each))
    return (*starts, *filter_lines(workload.log_lines, kind)[:3])


def _downloads_packages(container: WorkloadContainer) -> bool:
    command = container.command_line
    match = _INSTALLS.search(command)
    if not match or _NO_DOWNLOADS.search(command) or _is_enabled(container, "UV_OFFLINE"):
        return False
    return not (_UV_SYNCS.match(match[0]) and _is_enabled(container, "UV_NO_SYNC"))


def _downloads_python(container: WorkloadContainer) -> bool:
    is_allowed = container.get_env("UV_PYTHON_DOWNLOADS") != "never"
    return is_allowed and bool(_PYTHON.search(container.command_line))


def _downloads_models(container: WorkloadContainer) -> bool:
    is_offline = any(_is_enabled(container, name) for name in _OFFLINE)
    return not is_offline and bool(_MODELS.search(container.command_line))


_DOWNLOADS: dict[DownloadKind, Callable[[WorkloadContainer], bool]] = {
    "packages": _downloads_packages,
    "python": _downloads_python,
    "models": _downloads_models,
}


def find_index_url(container: WorkloadContainer) -> str | None:
    """Return the index that a container installs from: its command overrides its variables."""
    match = _INDEX.search(container.command_line)
    if match:
        return match[1]
    urls = (container.get_env(name) for name in INDEX_VARIABLES)
    return next((url for url in urls if url is not None), None)


def sets_index_in_command(container: WorkloadContainer) -> bool:
    """Whether its command names an index, which overrides the environment."""
    return bool(_INDEX.search(container.command_line))


def uses_mirror(container: WorkloadContainer, mirror: MirrorState | None) -> bool:
    """Whether the container installs from the mirror."""
    url = find_index_url(container)
    if url is not None:
        return bool(mirror and mirror.recorded_address and f"//{mirror.recorded_address}:" in url)
    return ENV_MAP in container.env_maps


def find_proxy(
    variables: Mapping[str, str | None], address: str, port: int
) -> tuple[str, Mapping[str, str]] | None:
    """Return the variable whose proxy is asked for the mirror; None if none is.

    Also returns the variables that except the mirror from the proxy, with what they have now.
    """
    proxy = next((name for name in _PROXIES if variables.get(name)), None)
    present = {name: value for name in _NO_PROXY if (value := variables.get(name))}
    if proxy is None or bypasses_proxy(address, port, ",".join(present.values())):
        return None
    return proxy, {
        name: ",".join(filter(None, (value, address)))
        for name, value in (present or {_NO_PROXY[0]: ""}).items()
    }


def ignores_index(container: WorkloadContainer) -> bool:
    """Whether it runs `uv … --frozen`, which downloads from the URLs in the lock."""
    command = container.command_line
    is_frozen = _FROZEN.search(command) or _is_enabled(container, "UV_FROZEN")
    syncs = _UV_SYNCS.search(command) and not _NO_DOWNLOADS.search(command)
    return bool(is_frozen and syncs) and not _is_enabled(container, "UV_NO_SYNC")


def list_installers(workload: Workload) -> Sequence[WorkloadContainer]:
    """Return the containers that install packages; all of them if only the logs show it."""
    installers = [each for each in workload.containers if _INSTALLS.search(each.command_line)]
    return installers or workload.containers


def get_mirror(evidence: Evidence) -> MirrorState | None:
    """Return the mirror; None if it could not be seen."""
    return None if isinstance(evidence.mirror, Unseen) else evidence.mirror


def _is_enabled(container: WorkloadContainer, name: str) -> bool:
    return (container.get_env(name) or "").lower() in _TRUE


def _describe_start(container: WorkloadContainer) -> str:
    command = " ".join(container.command_line.split())
    if len(command) > _MAX_COMMAND:
        command = command[:_MAX_COMMAND] + " …"
    return f"container {container.name} starts: {command}"
