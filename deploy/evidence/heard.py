"""Which lines of logs tell of downloads, and how secrets leave a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST = 10  # lines of each kind that are kept of one log
_LONG = 240  # characters of a line

# kind → what its lines look like, as uv, pip, huggingface_hub, spaCy, whisper, torch and nltk say
TELLING: dict[str, re.Pattern[str]] = {
    "packages": re.compile(
        r"^\s*(Prepared|Installed|Downloaded) \d+ packages? in|^\s*Downloading \S+ \([\d.]+ ?\w+\)"
        r"|^\s*(Collecting|Downloading) \S+(\.whl|\.tar\.gz|[=<>~]=?\S*)|^\s*Collecting [\w.-]+\s*$"
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

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?P<keep>\w+://)[^\s/@]*@"), r"\g<keep>***@"),
    (
        re.compile(
            r"(?i)(?P<keep>[\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key"
            r"|private[_-]?key|credential|passphrase|auth)[\w.-]*[\"']?\s*[=:]\s*[\"']?)"
            r"(?!\*\*\*)(?:(?:bearer|basic)\s+)?[^\s\"',;&]+"
        ),
        r"\g<keep>***",
    ),
    (re.compile(r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"), r"\g<keep>***"),
    (re.compile(r"(?i)(?P<keep>--?(?:password|token|secret|api-key)\s+)\S+"), r"\g<keep>***"),
    # shapes of tokens that need no name: JWT, GitHub, GitLab, Hugging Face, OpenAI, AWS, Slack
    (
        re.compile(
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}"
            r"|\bglpat-[\w-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bsk-[\w-]{16,}|\bpypi-[\w-]{32,}"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bxox[abpr]-[\w-]{10,}"
        ),
        "***",
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.DOTALL),
        "***",
    ),
)
_SECRET_NAME = re.compile(
    r"(?i)passw|secret|token|api_?key|access_?key|private_?key|credential|passphrase|auth|cookie"
    r"|session|_key$|^key$|_dsn$|salt|signature"
)


def masked(text: str) -> str:
    """The same text without passwords, tokens, keys and the users of URLs."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of this name holds something that must not be shown."""
    return bool(_SECRET_NAME.search(name))


def kinds(line: str) -> set[str]:
    """packages, python, models, failed: what a line tells of."""
    return {kind for kind, pattern in TELLING.items() if pattern.search(line)}


def telling(log: str) -> tuple[str, ...]:
    """The lines that tell of downloads, in their order; of each kind the first ones, masked."""
    kept: list[str] = []
    count = dict.fromkeys(TELLING, 0)
    for line in log.splitlines():
        found = kinds(line)
        if any(count[kind] < _MOST for kind in found):
            kept.append(masked(line.strip())[:_LONG])
            for kind in found:
                count[kind] += 1
    return tuple(dict.fromkeys(kept))


def of_kind(lines: Iterable[str], kind: str) -> tuple[str, ...]:
    """The lines that tell of one kind."""
    return tuple(line for line in lines if TELLING[kind].search(line))
