"""The rules for public packages, applied to the pages and files of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirror.cache.errors import PolicyError
from mirror.cache.package_paths import guess_projects
from mirror.exemptions import Exemptions
from mirror.policy import PageVerdict, Policy
from mirror.volume import METADATA_SUFFIX


class PagePolicy:
    """A policy with the exempt hashes of one volume."""

    def __init__(self, policy: Policy, public: Path) -> None:
        self.rules = policy
        self._exemptions = Exemptions(public)

    def check_project(self, project: str) -> None:
        """Raise PolicyError for a project that is hidden as a whole."""
        _refuse(project, self.rules.find_project_rule(project))

    def check_file(self, project: str, filename: str) -> None:
        """Raise PolicyError for a file that a list hides. A lock may name files of any age."""
        name = filename.removesuffix(METADATA_SUFFIX)
        _refuse(name, self.rules.find_file_rule(project, name))

    def check_package(self, filename: str) -> None:
        """As ``check_file``, for a path that does not tell the project."""
        project = next(guess_projects(filename), "")
        if project:
            self.check_file(project, filename)

    def read_version(self) -> int:
        """Return a number that changes when hashes become exempt."""
        self._exemptions.read()
        return self._exemptions.version

    def apply(self, project: str, document: Mapping[str, Any]) -> PageVerdict:
        """Return a page without what is hidden now."""
        exempt = self._exemptions.read()
        return self.rules.apply(project, document, exempt, datetime.now(UTC))


def _refuse(subject: str, rule: str) -> None:
    if rule:
        raise PolicyError(
            f"the mirror's policy hides {subject}: {rule}", rule.split()[0].strip(":")
        )
