"""Why a project's page is as it is: the answer of `mirror explain`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFile:
    """A file of the upstream's page; ``rule`` hides it, empty if it is shown."""

    filename: str
    version: str
    rule: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a project comes from, and what hides it or its files.

    ``hidden_by`` is empty if the project has a page. ``pin`` is the upstream that it is pinned to.
    ``passed`` are upstreams that were asked before and do not have it, ``not_asked`` those after.
    """

    project: str
    private: bool
    upstream: str
    pin: str
    passed: tuple[str, ...]
    not_asked: tuple[str, ...]
    hidden_by: str
    rules: tuple[str, ...]
    files: tuple[ExplainedFile, ...]
