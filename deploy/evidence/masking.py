"""How secrets leave what is shown or saved: lines, commands, whole objects. Pure.

Environment values are kept by a list of what steers downloads and networks; whatever else a
workload is told stays out, however harmless its name looks.
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
_NETWORK = re.compile(
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
    r"|_key$|_dsn$|salt|signature"
)
_FLAG = re.compile(r"(?i)--?[\w-]*(password|passwd|token|secret|api-?key|credential)[\w-]*")
_DROPPED = {"managedFields"}
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def mask_text(text: str) -> str:
    """The same text without passwords, tokens, keys and the users of URLs."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of this name holds something that must not be shown."""
    return bool(_SECRET_NAME.search(name))


def mask_command(words: Sequence[str]) -> list[str]:
    """A command; the word after a flag such as --token goes."""
    kept: list[str] = []
    for word in words:
        after_flag = bool(kept) and bool(_FLAG.fullmatch(kept[-1]))
        kept.append(MASK if after_flag else mask_text(word))
    return kept


def may_show_value(name: str) -> bool:
    """Whether the value of this variable may be shown."""
    return bool(
        DOWNLOAD_VARIABLES.fullmatch(name) or _NETWORK.fullmatch(name)
    ) and not is_secret_name(name)


def mask_object(value: Any) -> Any:
    """A Kubernetes object, or a part of one, fit for a bug report."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, list):
        return [mask_object(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, one in value.items():
        if key in _DROPPED or key == _APPLIED:
            continue
        if key == "env" and isinstance(one, list):
            kept[key] = [_variable(pair) for pair in one]
        elif key in {"command", "args"} and isinstance(one, list):
            kept[key] = mask_command([str(word) for word in one])
        elif isinstance(one, str) and is_secret_name(key) and not key.endswith("Name"):
            kept[key] = MASK
        else:
            kept[key] = mask_object(one)
    return kept


def _variable(pair: Any) -> Any:
    if not isinstance(pair, dict) or "value" not in pair:
        return mask_object(pair)
    shown = mask_text(str(pair["value"])) if may_show_value(str(pair.get("name", ""))) else MASK
    return {**pair, "value": shown}
