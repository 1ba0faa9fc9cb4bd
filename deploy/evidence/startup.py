"""What workloads do when they start, read from what they start and what they said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.log_lines import filter_lines
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.evidence.workloads import Workload, WorkloadContainer
from deploy.manifests.model import ENV_MAP

_TRUE = {"1", "true", "yes", "on"}
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_INSTALLS = re.compile(
    r"\b(uvx\s+[\w.\[-]|uv\s+(-\S+\s+)*(run|sync|pip\s+(install|sync)|tool\s+(run|install)|add)\b"
    r"|(pip3?|python[\d.]*\s+-m\s+pip)\s+(-\S+\s+)*install\b"
    r"|(poetry|pdm)\s+(-\S+\s+)*install\b|pipx\s+(run|install)\b|hatch\s+run\b)"
)
_UV_SYNCS = re.compile(r"\buv\s+(-\S+\s+)*(run|sync)\b")
_QUIET = re.compile(r"(?<!\S)(--no-sync|--offline)(?!\S)")
_INDEX = re.compile(r"(?:--index-url|--default-index|-i)[=\s]+(\S+)")
_FROZEN = re.compile(r"(?<!\S)--frozen(?!\S)")
_PYTHON = re.compile(r"\buv\s+python\s+install\b|\buv\w*\s[^|;&]*--managed-python\b")
_MODELS = re.compile(
    r"\b(spacy\s+download|huggingface-cli\s+download|hf\s+download|nltk\.downloader"
    r"|whisper(\s|$)|from_pretrained|snapshot_download|hf_hub_download)"
)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def command_line(container: WorkloadContainer) -> str:
    """Command and arguments as one line."""
    return " ".join(container.command)


def is_enabled(container: WorkloadContainer, name: str) -> bool:
    """Whether a variable says yes."""
    return (container.get_env(name) or "").lower() in _TRUE


def find_package_installs(workload: Workload) -> tuple[str, ...]:
    """What shows that it installs packages when it starts; empty where nothing does."""
    shown = []
    for one in workload.containers:
        line = command_line(one)
        found = _INSTALLS.search(line)
        if not found or _QUIET.search(line) or is_enabled(one, "UV_OFFLINE"):
            continue
        if _UV_SYNCS.match(found[0]) and is_enabled(one, "UV_NO_SYNC"):
            continue
        shown.append(f"container {one.name} starts: {_short(line)}")
    return (*shown, *filter_lines(workload.log_lines, "packages")[:3])


def find_python_downloads(workload: Workload) -> tuple[str, ...]:
    """What shows that it downloads Python itself."""
    shown = [
        f"container {one.name} starts: {_short(command_line(one))}"
        for one in workload.containers
        if _PYTHON.search(command_line(one)) and (one.get_env("UV_PYTHON_DOWNLOADS") != "never")
    ]
    return (*shown, *filter_lines(workload.log_lines, "python")[:3])


def find_model_downloads(workload: Workload) -> tuple[str, ...]:
    """What shows that it downloads models."""
    shown = [
        f"container {one.name} starts: {_short(command_line(one))}"
        for one in workload.containers
        if _MODELS.search(command_line(one)) and not any(is_enabled(one, name) for name in _OFFLINE)
    ]
    return (*shown, *filter_lines(workload.log_lines, "models")[:3])


def find_index_url(container: WorkloadContainer) -> str | None:
    """The index that a container is told, by its own words before its variables."""
    found = _INDEX.search(command_line(container))
    if found:
        return found[1]
    return next(
        (url for name in INDEX_VARIABLES if (url := container.get_env(name)) is not None), None
    )


def sets_index_in_command(container: WorkloadContainer) -> bool:
    """Whether its command names an index itself: that wins over the environment."""
    return bool(_INDEX.search(command_line(container)))


def uses_mirror(container: WorkloadContainer, state: MirrorState | None) -> bool:
    """Whether it installs from the mirror."""
    index = find_index_url(container)
    if index is not None:
        return bool(state and state.recorded_address and f"//{state.recorded_address}:" in index)
    return ENV_MAP in container.env_maps


def ignores_index(container: WorkloadContainer) -> bool:
    """`uv … --frozen` fetches the URLs of the lock, whatever index it is told."""
    line = command_line(container)
    frozen = _FROZEN.search(line) or is_enabled(container, "UV_FROZEN")
    return bool(frozen and _UV_SYNCS.search(line) and not _QUIET.search(line)) and not is_enabled(
        container, "UV_NO_SYNC"
    )


def iter_installers(workload: Workload) -> Iterator[WorkloadContainer]:
    """The containers that install; all of them where only the logs tell."""
    found = [one for one in workload.containers if _INSTALLS.search(command_line(one))]
    yield from found or workload.containers


def get_mirror(evidence: Evidence) -> MirrorState | None:
    """The mirror, where it could be seen."""
    return None if isinstance(evidence.mirror, Unseen) else evidence.mirror


def format_target(workload: Workload) -> str:
    """KIND/NAME as the command line takes it."""
    return f"{workload.kind.lower()}/{workload.name}"


def _short(line: str, most: int = 120) -> str:
    line = " ".join(line.split())
    return line if len(line) <= most else line[:most] + " …"
