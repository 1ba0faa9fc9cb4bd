"""Rules for public packages: a minimum age of files, and lists of allowed and denied projects.

They apply when a project's page is written. Pure functions: a page, the time and the exempt hashes
in, the page without what is hidden out. Private packages have no rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mirror.core.errors import InputError
from mirror.wheels import parse_version

POLICY_KEY = "_policy"  # of a page; PEP 691 leaves names with an underscore to servers
_RULE = re.compile(r"(?P<name>[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,99})\s*(?P<versions>[<>=!~].*)?")
_AGE = re.compile(r"(?P<number>[0-9]{1,5})(?P<unit>[mhdw]?)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks", "": "days"}


@dataclass(frozen=True, slots=True)
class NameRule:
    """An entry of a list: a name, in which * and ? stand for any letters, and versions of it."""

    text: str
    pattern: str
    versions: SpecifierSet | None

    def matches_project(self, project: str) -> bool:
        return fnmatchcase(project, self.pattern)

    def matches(self, project: str, version: Version | None) -> bool:
        """Whether it matches a file. One without a version in its name is of any version."""
        if not self.matches_project(project):
            return False
        return (
            self.versions is None
            or version is None
            or self.versions.contains(version, prereleases=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerdict:
    """A file of a page: ``rule`` says what hides it, empty if it is shown.

    ``note`` says what a rule cannot tell, or why it does not apply.
    """

    filename: str
    rule: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageVerdict:
    """A page without its hidden files, and when the next of these may be shown (epoch)."""

    document: Mapping[str, Any]
    files: tuple[FileVerdict, ...]
    next_change: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of a mirror. An empty ``allow`` allows every project."""

    min_age: timedelta = timedelta()
    allow: Sequence[NameRule] = ()
    deny: Sequence[NameRule] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.min_age or self.allow or self.deny)

    def describe(self) -> list[str]:
        """Return the rules as texts."""
        age = [_describe_age(self.min_age)] if self.min_age else []
        lists = (("allow", self.allow), ("deny", self.deny))
        return age + [f"{name} {rule.text}" for name, rules in lists for rule in rules]

    def find_project_rule(self, project: str) -> str:
        """Return the rule that hides a whole project, or an empty text."""
        for rule in self.deny:
            if rule.versions is None and rule.matches_project(project):
                return f"deny {rule.text}"
        if self.allow and not any(rule.matches_project(project) for rule in self.allow):
            return "allow: it is not in the list"
        return ""

    def find_file_rule(self, project: str, filename: str) -> str:
        """Return the rule of a list that hides a file, or an empty text; its age does not count."""
        whole = self.find_project_rule(project)
        if whole:
            return whole
        version = parse_version(filename, project)
        for rule in self.deny:
            if rule.matches(project, version):
                return f"deny {rule.text}"
        if self.allow and not any(rule.matches(project, version) for rule in self.allow):
            return "allow: this version is not in the list"
        return ""

    def apply(
        self, project: str, document: Mapping[str, Any], exempt: Collection[str], now: datetime
    ) -> PageVerdict:
        """Return a page without what the rules hide. ``exempt`` are SHA-256 of files of any age."""
        verdicts, shown, changes = [], [], []
        for file in document["files"]:
            verdict, change = self._judge(project, file, exempt, now)
            verdicts.append(verdict)
            if change is not None:
                changes.append(change.timestamp())
            if not verdict.rule:
                shown.append(file)
        page = {**document, "files": shown, POLICY_KEY: self._summarize(verdicts)}
        if isinstance(document.get("versions"), list) and len(shown) != len(verdicts):
            page["versions"] = _list_versions(project, document["versions"], shown)
        next_change = min(changes, default=None)
        return PageVerdict(document=page, files=tuple(verdicts), next_change=next_change)

    def _judge(
        self, project: str, file: Mapping[str, Any], exempt: Collection[str], now: datetime
    ) -> tuple[FileVerdict, datetime | None]:
        """Return a file's verdict, and when it will be old enough if it is hidden for its age."""
        filename = str(file["filename"])
        rule = self.find_file_rule(project, filename)
        if rule or not self.min_age:
            return FileVerdict(filename=filename, rule=rule), None
        age_rule = _describe_age(self.min_age)
        uploaded = _parse_time(file.get("upload-time"))
        if uploaded is None:
            note = f"{age_rule} does not apply: its index gives no upload time"
            return FileVerdict(filename=filename, note=note), None
        if uploaded + self.min_age <= now:
            return FileVerdict(filename=filename), None
        if str((file.get("hashes") or {}).get("sha256", "")).lower() in exempt:
            note = f"{age_rule} does not apply: a lock that was warmed has its hash"
            return FileVerdict(filename=filename, note=note), None
        since = uploaded.isoformat(" ", "minutes")
        rule = f"{age_rule}: uploaded {since}"
        return FileVerdict(filename=filename, rule=rule), uploaded + self.min_age

    def _summarize(self, verdicts: Sequence[FileVerdict]) -> dict[str, Any]:
        """Return what a page says of the rules that were applied to it."""
        hidden = sum(bool(verdict.rule) for verdict in verdicts)
        summary: dict[str, Any] = {"rules": self.describe(), "hidden": hidden}
        notes = sorted({verdict.note for verdict in verdicts if verdict.note})
        return summary | ({"notes": notes} if notes else {})


def parse_rule(text: str) -> NameRule:
    """Parse NAME, NAME with * or ?, or NAME with versions such as ``lib>=2``. Raises InputError."""
    match = _RULE.fullmatch(text.strip())
    try:
        versions = SpecifierSet(match["versions"]) if match and match["versions"] else None
    except InvalidSpecifier:
        match = None
    if match is None:
        raise InputError(
            f"not a rule: {text[:80]!r}",
            why="a rule is a project's name, in which * stands for any letters, and may limit "
            "versions",
            next_step="give one such as acme-*, or 'lib==2.1'",
        )
    return NameRule(text.strip(), str(canonicalize_name(match["name"])), versions)


def check_rule(text: str) -> str:
    """Return the text if it is a rule, else raise InputError."""
    parse_rule(text)
    return text


def parse_age(text: str) -> timedelta:
    """Parse 7d, 36h, 90m or 2w; a bare number is days. Raises InputError."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise InputError(
            f"not an age: {text[:40]!r}",
            why="an age is a number of days, or of m(inutes), h(ours), d(ays) or w(eeks)",
            next_step="give one such as --min-age 7d; 0 turns the rule off",
        )
    return timedelta(**{_UNITS[match["unit"]]: int(match["number"])})


def check_age(text: str) -> str:
    """Return the text if it is an age, else raise InputError."""
    parse_age(text)
    return text


def _describe_age(age: timedelta) -> str:
    hours, seconds = divmod(int(age.total_seconds()), 3600)
    if seconds:
        return f"min-age {int(age.total_seconds()) // 60}m"
    return f"min-age {hours // 24}d" if hours % 24 == 0 else f"min-age {hours}h"


def _parse_time(value: object) -> datetime | None:
    """Parse an upload time (PEP 700); None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _list_versions(
    project: str, versions: Sequence[str], shown: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return those versions of a page that still have files, as the page spells them."""
    left = {parse_version(str(file["filename"]), project) for file in shown}
    return [text for text in versions if _parse_version_text(text) in left]


def _parse_version_text(text: object) -> Version | None:
    try:
        return Version(str(text))
    except ValueError:
        return None
