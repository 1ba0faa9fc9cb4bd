"""The project that is built into an image, from a folder or a git repository."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.engine.docker_context import list_context_paths
from images.project.git_version import takes_version_from_git
from images.project.metadata_files import list_metadata_files
from images.project.workspace import Workspace, choose_member, find_package, find_workspace
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

_NEVER = (".git", ".hg", ".svn", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache")
_SECRET = re.compile(r"(\.env(\..+)?|\.netrc|\.pypirc|id_(rsa|ed25519|ecdsa))\Z")
_SAMPLE = re.compile(r"\.(example|sample|template|dist)\Z")
_GIT_URL = re.compile(r"(git\+)?(https?|ssh|git|file)://|git@")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSource:
    """The files and the revision of a project.

    ``folder`` is the project's folder, or the root of its workspace; ``project`` is then the path
    of the member below ``folder``, else "". ``revision`` is the git commit, with "-dirty" if files
    are modified, None outside git; ``files`` are the paths below ``folder`` of regular files and
    symbolic links, sorted; ``left_out`` lists files that were omitted because of their name, as
    they probably contain secrets.
    """

    folder: Path
    project: str = ""
    revision: str | None
    files: tuple[str, ...]
    left_out: tuple[str, ...]


@contextmanager
def open_source(
    location: str, subdirectory: str, deadline: Deadline, *, package: str = ""
) -> Iterator[ProjectSource]:
    """Yield the project at DIR or GIT_URL[@REV]. Raises InputError if there is none.

    ``package`` is the name of a member of its workspace.
    """
    if not _GIT_URL.match(location):
        yield read_source(_find_project(Path(location), subdirectory), deadline, package=package)
        return
    checkout = Path(tempfile.mkdtemp(prefix="pypi-mirror-source-"))
    try:
        clone(location, checkout, deadline)
        project = _find_project(checkout, subdirectory)
        fetch_tags(location, checkout, project, deadline)
        try:
            source = read_source(project, deadline, package=package)
        except InputError as error:  # the checkout will be gone when the command is pasted
            error.next_step = error.next_step.replace(str(checkout), location)
            raise
        yield source
    finally:
        shutil.rmtree(checkout, ignore_errors=True)


def read_source(folder: Path, deadline: Deadline, *, package: str = "") -> ProjectSource:
    """List the files of a project that .dockerignore does not exclude.

    For a member of a workspace, these are the files of the root, without members that it does not
    need. Files that its build backend reads are never excluded. ``package`` names another member
    than the folder is. Raises InputError for a symbolic link that leads out of the project.
    """
    if not folder.is_dir():
        raise InputError(
            f"no project in {folder}",
            why="there is no such folder",
            next_step="give a folder with a pyproject.toml, or a git URL",
        )
    workspace = find_workspace(folder)
    if package:
        folder = find_package(workspace, folder, package)
    root = workspace.root if workspace else folder.resolve()
    member = choose_member(workspace, folder) if workspace else ""
    unneeded = workspace.find_unneeded(member) if workspace else ()
    ignore = root / ".dockerignore"
    lines = ignore.read_text(errors="replace").splitlines() if ignore.is_file() else []
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    ignored = [*(f"**/{name}" for name in _NEVER), *unneeded, *rules]
    included = list_context_paths(str(root), ignored) | set(_list_kept(root, workspace, unneeded))
    requested = {line[1:].lstrip("/") for line in rules if line.startswith("!")}
    files, left_out = [], []
    for name in sorted(included):
        path = root / name
        if not set(_NEVER).isdisjoint(Path(name).parts) or name.endswith((".pyc", ".sock")):
            continue
        base = Path(name).name
        if _SECRET.match(base) and not _SAMPLE.search(base) and name not in requested:
            left_out.append(name)
        elif path.is_symlink() or path.is_file():
            _check_link(root, path)
            files.append(name)
    return ProjectSource(
        folder=root,
        project=member,
        revision=describe_revision(root, deadline.within(10)),
        files=tuple(files),
        left_out=tuple(left_out),
    )


def _list_kept(root: Path, workspace: Workspace | None, unneeded: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that builds of the project and the members that it needs read."""
    members = workspace.members.values() if workspace else ()
    for folder in dict.fromkeys((".", *members)):
        if folder not in unneeded:
            names = list_metadata_files(root / folder)
            yield from (name if folder == "." else f"{folder}/{name}" for name in names)


def clone(location: str, target: Path, deadline: Deadline) -> str:
    """Fetch one revision of GIT_URL[@REV] into a folder; return the commit."""
    url, revision = split_git_url(location)
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}

    def git(*arguments: str, check: bool = True) -> tuple[bool, str]:
        result = run(("git", "-C", target, *arguments), deadline=deadline, env=env, check=check)
        return result.ok, result.out.strip()

    try:
        git("init", "--quiet")
        fetched, _ = git("fetch", "--quiet", "--depth", "1", "--", url, revision, check=False)
        if fetched:
            revision = "FETCH_HEAD"
        else:  # the server does not serve single commits, or the hash is abbreviated
            git("fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/mirror/*")
        git("checkout", "--quiet", "--detach", revision)
        if (target / ".gitmodules").is_file():
            git("remote", "add", "origin", url)  # submodules may have relative addresses
            git("submodule", "--quiet", "update", "--init", "--recursive")
        return git("rev-parse", "HEAD")[1]
    except ProgramError as error:
        raise InputError(
            f"cannot fetch {redact_credentials(url)}",
            why=redact_credentials(error.why or str(error)),
            next_step="check the address, the revision (…@REV), and that git can read it from here",
        ) from error


def fetch_tags(location: str, checkout: Path, project: Path, deadline: Deadline) -> None:
    """Fetch the history and the tags of a clone if a project in it takes its version from them."""
    if not takes_version_from_git(project):
        return
    url, revision = split_git_url(location)
    for options in (("--unshallow", "--tags", "--", url, revision), ("--tags", "--", url)):
        # the first fails for a clone that has its history, or a server without single commits
        argv = ("git", "-C", checkout, "fetch", "--quiet", *options)
        run(argv, deadline=deadline, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"}, check=False)


def check_large_files(name: str, checkout: Path, project: Path, deadline: Deadline) -> None:
    """Fetch files that are in Git LFS. Raises InputError if that is impossible.

    ``name`` is for the error.
    """
    pointer = "version https://git-lfs.github.com/spec/"
    search = ("grep", "--files-with-matches", "--fixed-strings", "--text", "-e", pointer, "HEAD")

    def list_pointers() -> list[str]:
        argv = ("git", "-C", project, *search, "--", ".")
        found = run(argv, deadline=deadline, check=False).out.splitlines()
        names = [line.partition(":")[2] for line in found]
        paths = [(name, project / name) for name in names]
        return [
            name
            for name, path in paths
            if path.is_file()
            and path.stat().st_size < 1024
            and pointer in path.read_text("latin-1")
        ]

    if not list_pointers():
        return
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    run(("git", "-C", checkout, "lfs", "pull"), deadline=deadline, env=env, check=False)
    if missing := list_pointers():
        raise InputError(
            f"{name} has files in Git LFS that cannot be fetched: {', '.join(missing[:3])}",
            why="its wheel would contain the pointers instead of the files",
            next_step=f"install git-lfs, or give its wheel: --vendor {name}=WHEEL",
        )


def split_git_url(location: str) -> tuple[str, str]:
    """Split GIT_URL[@REV] into URL and revision (HEAD by default).

    An @ before the host is part of the URL.
    """
    url, revision = location.removeprefix("git+"), "HEAD"
    head, at, tail = url.rpartition("@")
    is_after_host = "/" in head.partition("://")[2] or (":" in head and "://" not in head)
    if at and is_after_host:
        url, revision = head, tail
    if not _REVISION.match(revision) or url.startswith("-"):
        raise InputError(f"not a revision: {revision!r}", next_step="give a commit, tag or branch")
    return url, revision


def redact_credentials(text: str) -> str:
    """Return a text with user and password removed from its URLs."""
    return re.sub(r"(\w://)[^/@\s]+@", r"\1", text)


def describe_revision(folder: Path, deadline: Deadline) -> str | None:
    """Return the commit of a working tree, with "-dirty" if it is modified; None outside git."""
    options = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        return run(("git", "-C", folder, *options), deadline=deadline).out.strip() or None
    except ProgramError:
        return None


def _find_project(folder: Path, subdirectory: str) -> Path:
    inner = folder / subdirectory
    return inner if subdirectory and (inner / "pyproject.toml").is_file() else folder


def _check_link(root: Path, path: Path) -> None:
    """Raise InputError for a symbolic link that leads out of the project."""
    if not path.is_symlink():
        return
    target = path.readlink()
    normalized = Path(os.path.normpath(path.parent / target))
    if target.is_absolute() or not normalized.is_relative_to(root):
        why = f"its target {target} is not part of the source"
    elif not path.resolve().is_relative_to(root):
        why = "another link on its path does"
    else:
        return
    raise InputError(
        f"{path.relative_to(root)} is a link that leads out of the project",
        why=why,
        next_step="copy the file into the project, or exclude the link in .dockerignore",
    )
