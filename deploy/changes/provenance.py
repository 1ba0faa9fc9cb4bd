"""Decide whether an entry of the ledger can be what its editors made. Pure.

Whoever may write ConfigMaps in kube-system may write entries, and a rollback obeys them with an
administrator's rights. So an entry counts only if its editors ever edit its target, and if they
explain the difference between its contents: the same edits on each of them give the same result.
Then a rollback can change only what the edits themselves overwrite. The Corefile and the other
ConfigMaps of kube-system are left out: whoever can forge their entries can write them directly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.changes.ledger import NAMESPACE
from deploy.changes.model import (
    CannotEdit,
    ConfigMapKey,
    Edit,
    Editor,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    Target,
    agent_target,
)
from mirror.agent.allowlist import check_change
from mirror.agent.host_paths import NotAllowedError
from mirror.core.errors import MirrorError

_NOTHING = object()


def find_flaw(entry: LedgerEntry, editors: Mapping[str, Editor]) -> str:
    """Return why the editors cannot have made the entry; empty if they can have."""
    applied = [each.edit for each in (*entry.edits, *entry.undone)]
    unknown = sorted({edit.fix for edit in applied} - set(editors))
    if unknown:
        return ""  # a newer version may know it: the engine refuses it with that reason
    names = {edit.fix for edit in applied}
    if not names:  # version 0.1.0 did not store what an interrupted rollback undoes
        names = {name for name, editor in editors.items() if editor.may_target(entry.target)}
    strangers = sorted(name for name in names if not editors[name].may_target(entry.target))
    if strangers or not names:
        return f"{' and '.join(strangers) or 'no fix'} never changes {entry.target}"
    if not any(editors[name].may_restore(entry.target, entry.base) for name in names):
        return f"its original is not one that {entry.target} can have had"
    if isinstance(entry.target, ConfigMapKey) and entry.target.namespace == NAMESPACE:
        return ""
    if isinstance(entry.target, NodeFile | NodeSysctl):
        try:  # what the node agent would refuse anyway
            check_change(agent_target(entry.target), entry.written, entry.base)
        except NotAllowedError as error:
            return str(error)
    contents = [entry.written, *([entry.intended] if entry.pending else [])]
    edits = [*applied, *(editors[name].widest_edit for name in names)]
    edits.sort(key=lambda edit: editors[edit.fix].order)
    expected = _normalize(entry.base, edits, entry.target, editors)
    for content in contents:
        if content == entry.base:
            continue
        actual = _normalize(content, edits, entry.target, editors)
        if expected is _NOTHING or actual is _NOTHING or actual != expected:
            return f"no edit of {' and '.join(sorted(names))} explains its contents"
    return ""


def _normalize(
    content: bytes | None, edits: Iterable[Edit], target: Target, editors: Mapping[str, Editor]
) -> Any:
    """Return the content with all edits, so that only what they do not touch can differ.

    _NOTHING if it cannot be edited.
    """
    try:
        for edit in edits:
            content = editors[edit.fix].edit(edit, target, content)
    except (CannotEdit, MirrorError, AssertionError, KeyError, TypeError, ValueError):
        return _NOTHING
    if content is None:
        return None
    try:
        return _sort(json.loads(content))
    except ValueError:
        return content.split()


def _sort(value: Any) -> Any:
    """Return the value with its lists sorted: editors may move items."""
    if isinstance(value, dict):
        return {key: _sort(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(
            (_sort(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True)
        )
    return value
