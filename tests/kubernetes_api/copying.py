"""Copies of JSON values. This is much faster than `copy.deepcopy`."""

from __future__ import annotations

import marshal
from typing import Any


def clone(value: Any) -> Any:
    """Return a deep copy of a JSON value. Raises ValueError for anything else."""
    return marshal.loads(marshal.dumps(value))
