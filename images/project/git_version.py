"""Versions that build backends take from git tags: the image has no git repository.

The version is computed here as setuptools-scm does by default, and given to the backend by the
variable that it has for this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from images.toml_file import read_pyproject
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

# build requirement → variable that gives the version; {} is the name of the project
_VARIABLES = {
    "setuptools-scm": "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}",
    "vcs-versioning": "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}",
    "hatch-vcs": "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}",
    "flit-scm": "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}",
    "pdm-backend": "PDM_BUILD_SCM_VERSION",
    "poetry-dynamic-versioning": "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "uv-dynamic-versioning": "UV_DYNAMIC_VERSIONING_BYPASS",
    "pbr": "PBR_VERSION",
}
_TAG = re.compile(r"(?:[\w.-]*?[-_/])?v?(\d[\w.!+-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Description:
    """What `git describe` says: the last tag, the commits since then, and the commit."""

    version: str
    distance: int
    commit: str
    is_dirty: bool


def takes_version_from_git(folder: Path) -> str:
    """Return the build requirement that reads git tags, "" if the version is in the files."""
    document = read_pyproject(folder)
    project, tool = document.get("project", {}), document.get("tool", {})
    requires = [
        canonicalize_name(re.split(r"[\[<>=!~; ]", str(line))[0])
        for line in document.get("build-system", {}).get("requires", [])
    ]
    found = next((name for name in _VARIABLES if name in requires), "")
    is_dynamic = "version" in project.get("dynamic", ()) or "project" not in document
    if not found or not is_dynamic:
        return ""
    if found == "pdm-backend":
        return found if tool.get("pdm", {}).get("version", {}).get("source") == "scm" else ""
    if found == "setuptools-scm" and "project" in document:
        dynamic = tool.get("setuptools", {}).get("dynamic", {})
        return "" if "version" in dynamic and "setuptools_scm" not in tool else found
    if found == "hatch-vcs":
        return found if tool.get("hatch", {}).get("version", {}).get("source") == "vcs" else ""
    return found


def find_version_variables(
    folders: Mapping[str, Path], given: Mapping[str, str], deadline: Deadline
) -> dict[str, str]:
    """Return the variables that give projects their versions.

    ``folders`` are the projects that are built; ``given`` are variables that the recipe sets.
    Raises InputError for a version that nothing says.
    """
    variables: dict[str, str] = {}
    backends = {name: takes_version_from_git(folder) for name, folder in folders.items()}
    using = {name: backend for name, backend in backends.items() if backend}
    for name, backend in using.items():
        folder = folders[name]
        project = str(read_pyproject(folder).get("project", {}).get("name", folder.name))
        suffix = canonicalize_name(project).replace("-", "_").upper()
        variable = _VARIABLES[backend].format(suffix)
        if variable in given or "SETUPTOOLS_SCM_PRETEND_VERSION" in given:
            continue
        version = _find_version(folder, project, variable, deadline)
        if not version:
            continue
        variables[variable] = version
        if backend == "hatch-vcs" and len(using) == 1:  # it does not say the project's name
            variables["SETUPTOOLS_SCM_PRETEND_VERSION"] = version
    return variables


def _find_version(folder: Path, project: str, variable: str, deadline: Deadline) -> str:
    """Return the version by git tags, "" if the project has a version for the case of none."""
    settings = _read_settings(read_pyproject(folder))
    description = _describe(folder, settings, deadline)
    if description is not None:
        return _format(description, settings)
    if "fallback_version" in settings or "fallback-version" in settings:
        return ""
    raise InputError(
        f"the version of {project} comes from git tags, and {folder} has no git repository",
        why="its build would fail without a version",
        next_step=f"give a clone with its history (git clone URL), or a recipe with "
        f'[build_environment] {variable} = "1.0"',
    )


def _read_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    tool = document.get("tool", {})
    hatch = tool.get("hatch", {}).get("version", {})
    return {
        **tool.get("setuptools_scm", {}),
        **hatch.get("raw-options", {}),
        **{
            key: value for key, value in hatch.items() if key in ("tag-pattern", "fallback-version")
        },
        **tool.get("pdm", {}).get("version", {}),
        **tool.get("uv-dynamic-versioning", {}),
    }


def _describe(folder: Path, settings: Mapping[str, Any], deadline: Deadline) -> _Description | None:
    """Describe the commit of a working tree; None outside git."""

    def git(*arguments: str) -> str:
        return run(("git", "-C", folder, *arguments), deadline=deadline.within(30)).out.strip()

    try:
        commit = git("rev-parse", "--short=7", "HEAD")
        is_dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        is_shallow = git("rev-parse", "--is-shallow-repository") == "true"
    except ProgramError:
        return None
    try:
        text = git("describe", "--tags", "--long", "--match", "*[0-9]*")
    except ProgramError as error:
        if is_shallow:
            raise InputError(
                f"the version of {folder.name} comes from git tags, and this clone has none",
                why="it is shallow: older commits and their tags were not fetched",
                next_step=f"git -C {folder} fetch --unshallow --tags",
            ) from error
        count = int(git("rev-list", "--count", "HEAD"))
        return _Description(version="0.0", distance=count, commit=commit, is_dirty=is_dirty)
    tag, distance, _ = text.rsplit("-", 2)
    pattern = (
        settings.get("tag_regex") or settings.get("tag-pattern") or settings.get("tag_pattern")
    )
    match = re.search(str(pattern), tag) if pattern and pattern != "default" else None
    groups = match.groupdict() if match else {}
    found = (
        groups.get("version")
        or groups.get("base")
        or (match[1] if match and match.groups() else "")
    )
    if not found:
        plain = _TAG.fullmatch(tag)
        found = plain[1] if plain else tag.lstrip("v")
    return _Description(
        version=found.lstrip("v"), distance=int(distance), commit=commit, is_dirty=is_dirty
    )


def _format(description: _Description, settings: Mapping[str, Any]) -> str:
    """Return the version as setuptools-scm writes it: the next one, if there are commits since."""
    try:
        version = Version(description.version)
    except InvalidVersion:
        return description.version
    if not description.distance and not description.is_dirty:
        return str(version)
    release = [*version.release]
    scheme = str(settings.get("version_scheme", "guess-next-dev"))
    local = f"+g{description.commit}"
    if settings.get("local_scheme") == "no-local-version":
        local = ""
    if scheme == "post-release":
        return f"{version.base_version}.post{description.distance}{local}"
    if version.pre is not None:
        kind, number = version.pre
        return f"{version.base_version}{kind}{number + 1}.dev{description.distance}{local}"
    release[-1] += 1
    numbers = ".".join(map(str, release))
    return f"{numbers}.dev{description.distance}{local}"
