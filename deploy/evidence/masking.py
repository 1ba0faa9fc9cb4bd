"""Mask secrets in everything that is shown or saved: lines, commands, whole objects. Pure.

Values of environment variables are only kept if the variable is on a list of those that configure
downloads and networks. All other values are masked, however harmless their names look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MASK = "***"
DOWNLOAD_VARIABLES = re.compile(
    r"(UV|PIP|HF|HUGGINGFACE|TRANSFORMERS|SENTENCE_TRANSFORMERS|TORCH|SPACY|NLTK|WHISPER|POETRY)_\w+"
    r"|(HTTPS?|NO|ALL)_PROXY|PYTHON_VERSION",
    re.IGNORECASE,
)
_NETWORK_VARIABLES = re.compile(
    r"(FELIX|CALICO|CLUSTER|DATASTORE|NO_DEFAULT)_\w+|IP6?(_AUTODETECTION_METHOD)?"
)
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
    # tokens with a known format: JWT, GitHub, GitLab, Hugging Face, OpenAI, AWS, Slack
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
    r"|_key$|_dsn$|salt|signature"
)
_FLAG = re.compile(r"(?i)--?[\w-]*(password|passwd|token|secret|api-?key|credential)[\w-]*")
_DROPPED_KEYS = {"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}


def mask_text(text: str) -> str:
    """Return the text without passwords, tokens, private keys and the user part of URLs."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable or key with this name must not be shown."""
    return bool(_SECRET_NAME.search(name))


def mask_command(words: Sequence[str]) -> list[str]:
    """Return the words of a command; the word after a flag such as --token is masked."""
    masked: list[str] = []
    for word in words:
        follows_flag = bool(masked) and bool(_FLAG.fullmatch(masked[-1]))
        masked.append(MASK if follows_flag else mask_text(word))
    return masked


def may_show_value(name: str) -> bool:
    """Whether the value of this environment variable may be shown."""
    is_listed = DOWNLOAD_VARIABLES.fullmatch(name) or _NETWORK_VARIABLES.fullmatch(name)
    return bool(is_listed) and not is_secret_name(name)


def mask_object(value: Any) -> Any:
    """Return a Kubernetes object, or a part of one, without secrets and managed fields."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        return [mask_object(item) for item in value]
    if not isinstance(value, dict):
        return value
    masked: dict[str, Any] = {}
    for key, item in value.items():
        if key in _DROPPED_KEYS:
            continue
        if key == "env" and isinstance(item, list):
            masked[key] = [_mask_variable(variable) for variable in item]
        elif key in {"command", "args"} and isinstance(item, list):
            masked[key] = mask_command([str(word) for word in item])
        elif isinstance(item, str) and is_secret_name(key) and not key.endswith("Name"):
            masked[key] = MASK
        else:
            masked[key] = mask_object(item)
    return masked


def _mask_variable(variable: Any) -> Any:
    if not isinstance(variable, dict) or "value" not in variable:
        return mask_object(variable)
    shown = may_show_value(str(variable.get("name", "")))
    return {**variable, "value": mask_text(str(variable["value"])) if shown else MASK}
