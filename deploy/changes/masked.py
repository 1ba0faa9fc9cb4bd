"""Mask secrets in what is shown about the spec of an object: differences and conflicts. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from deploy.changes.model import ObjectSpec, Target
from deploy.evidence.masking import MASK, mask_object, may_show_value
from mirror.merge import MergeConflict, decode_spec, encode_spec

_ENV = ".env."


def mask_content(target: Target, content: bytes | None) -> bytes | None:
    """Return the content of a target as it may be shown. Only specs have secrets."""
    if content is None or not isinstance(target, ObjectSpec):
        return content
    return encode_spec(mask_object(decode_spec(content)))


def mask_conflict(conflict: MergeConflict) -> MergeConflict:
    """Return a conflict in a spec with the secrets of both sides masked.

    The keys in its ``place`` show what is secret.
    """
    return replace(
        conflict,
        ours=_mask_text(conflict.place, conflict.ours),
        theirs=_mask_text(conflict.place, conflict.theirs),
    )


def _mask_text(place: str, text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = _load_lines(text)
    if value is None:
        return text if text == "(absent)" else MASK
    _, found, variable = place.rpartition(_ENV)
    if found and not isinstance(value, dict) and not may_show_value(variable.partition(".")[0]):
        return MASK
    key = place.rpartition(".")[2]
    if found and isinstance(value, dict):
        (masked,) = mask_object({"env": [value]})["env"]
    elif key == "command" or key == "args" or key == "env" or isinstance(value, str):
        masked = mask_object({key: value})[key]
    else:
        masked = mask_object(value)
    return json.dumps(masked, indent=1, sort_keys=True)


def _load_lines(text: str) -> Any:
    """Return the items of a list without names, which a conflict shows one a line, or None."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return None
