"""Find the lines of logs that are about downloads. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploy.evidence.masking import mask_text

_MAX_LINES = 10  # of each kind that are kept of one log
_MAX_LENGTH = 240  # characters of a line

# kind → its lines, as uv, pip, huggingface_hub, spaCy, whisper, torch and nltk print them
LINE_PATTERNS: dict[str, re.Pattern[str]] = {
    "packages": re.compile(
        r"^\s*(Prepared|Installed|Downloaded) \d+ packages? in"
        r"|^\s*Downloading (?!cpython-)\S+ \([\d.]+ ?\w+\)|^\s*Collecting [\w.-]+\s*$"
        r"|^\s*(Collecting|Downloading) (?!cpython-)\S+(\.whl|\.tar\.gz|[=<>~]=?\S*)"
        r"|Successfully installed \S+-\d|Installing collected packages"
    ),
    "python": re.compile(
        r"Download(ing|ed) cpython-|Failed to (install|download) .*cpython"
        r"|python-build-standalone|cpython-\d\S+ \((download|missing)\)"
    ),
    "models": re.compile(
        r"huggingface|hf_hub|LocalEntryNotFoundError|Fetching \d+ files|\.safetensors|\.gguf"
        r"|en_core_web|spacy download|openaipublic|nltk_data\] +Downloading"
        r"|Downloading: \"https?:|pytorch_model|faster-whisper"
    ),
    "failed": re.compile(
        r"Name has no usable address|Name does not resolve|Name or service not known"
        r"|Temporary failure in name resolution|No address associated with hostname"
        r"|failed to lookup address|Could not resolve host|dns error"
        r"|[Nn]etwork (is )?unreachable|os error 101|tls handshake eof|Failed to (fetch|download)"
        r"|error sending request for url|client error \(Connect\)|operation timed out"
        r"|NewConnectionError|Max retries exceeded|ConnectTimeout|[Rr]ead timed out"
        r"|Could not find a version that satisfies|No matching distribution found"
        r"|LocalEntryNotFoundError|couldn't connect to|Can't load .* offline"
    ),
}


def classify_line(line: str) -> set[str]:
    """Return the kinds of a line: packages, python, models, failed; empty if it has none."""
    return {kind for kind, pattern in LINE_PATTERNS.items() if pattern.search(line)}


def select_lines(log: str) -> tuple[str, ...]:
    """Return the lines about downloads in their order: the first of each kind, masked."""
    selected: list[str] = []
    count = dict.fromkeys(LINE_PATTERNS, 0)
    for line in log.splitlines():
        kinds = classify_line(line)
        if any(count[kind] < _MAX_LINES for kind in kinds):
            selected.append(mask_text(line.strip())[:_MAX_LENGTH])
            for kind in kinds:
                count[kind] += 1
    return tuple(dict.fromkeys(selected))


def filter_lines(lines: Iterable[str], kind: str) -> tuple[str, ...]:
    """Return the lines of one kind."""
    return tuple(line for line in lines if LINE_PATTERNS[kind].search(line))
