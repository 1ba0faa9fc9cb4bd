"""Requests as the API receives and records them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_WRITING = {"POST", "PUT", "PATCH", "DELETE"}
_REVIEWS = ("/selfsubjectaccessreviews", "/selfsubjectrulesreviews")


@dataclass(slots=True, kw_only=True)
class ApiRequest:
    """One request. ``status`` is 0 if it was never responded to."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)  # of pods/exec
    body: Any = None
    content_type: str = "application/json"
    token: str = ""
    user_agent: str = ""
    user: str = ""
    status: int = 0

    @property
    def dry_run(self) -> bool:
        in_body = self.body.get("dryRun") if isinstance(self.body, dict) else None
        return bool(self.query.get("dryRun") or in_body)

    @property
    def is_write(self) -> bool:
        """Whether the request would change something: no dry run, no access review."""
        changes = self.method in _WRITING and not self.dry_run
        return changes and not self.path.endswith(_REVIEWS)

    def matches(self, methods: str, path: str) -> bool:
        """Whether it has one of these methods (separated by spaces, "*": any) and this path.

        The path is a pattern with ``*``, which matches slashes as well.
        """
        return (methods == "*" or self.method in methods.split()) and fnmatchcase(self.path, path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (" (dry run)" if self.dry_run else "")


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A status and a JSON value, or text."""

    status: int
    body: Any
