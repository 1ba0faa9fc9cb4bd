"""The project that is put into an image: a folder or a git repository, as files of a context."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from images.engine.docker_context import list_context_paths
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

_NEVER = (".git", ".hg", ".svn", ".venv", "venv", "__pycache__", ".mypy_cache", ".ruff_cache")
_SECRET = re.compile(r"(\.env(\..+)?|\.netrc|\.pypirc|id_(rsa|ed25519|ecdsa))\Z")
_SAMPLE = re.compile(r"\.(example|sample|template|dist)\Z")
_GIT = re.compile(r"(git\+)?(https?|ssh|git|file)://|git@")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A regular file (``path``) or a symbolic link (``link``) of the source."""

    path: Path
    link: str | None
    executable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSource:
    """``folder`` has the project; ``revision`` the commit (-dirty where edited), None outside git.

    ``files``: path in the project → file; ``left_out``: files with secrets by their name.
    """

    folder: Path
    revision: str | None
    files: Mapping[str, SourceFile]
    left_out: tuple[str, ...]


@contextmanager
def open_source(told: str, subdirectory: str, deadline: Deadline) -> Iterator[ProjectSource]:
    """The source that DIR or GIT_URL[@REV] names. InputError for what is neither."""
    if not _GIT.match(told):
        yield read_source(_inner(Path(told), subdirectory), deadline)
        return
    scratch = Path(tempfile.mkdtemp(prefix="pypi-mirror-source-"))
    try:
        clone(told, scratch, deadline)
        yield read_source(_inner(scratch, subdirectory), deadline)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_source(folder: Path, deadline: Deadline) -> ProjectSource:
    """Every file that .dockerignore leaves in; links that lead out of the project are refused."""
    if not folder.is_dir():
        raise InputError(
            f"no project in {folder}",
            why="there is no such folder",
            next_step="give a folder with a pyproject.toml, or a git URL",
        )
    root = folder.resolve()
    ignore = root / ".dockerignore"
    rules = ignore.read_text(errors="replace").splitlines() if ignore.is_file() else []
    rules = [line.strip() for line in rules if line.strip() and not line.startswith("#")]
    wanted = list_context_paths(str(root), [*(f"**/{name}" for name in _NEVER), *rules])
    kept = {line[1:].lstrip("/") for line in rules if line.startswith("!")}
    files, left_out = {}, []
    for name in sorted(wanted):
        path, parts = root / name, Path(name).parts
        if set(parts) & set(_NEVER) or name.endswith((".pyc", ".sock")):
            continue
        last = parts[-1] if parts else ""
        if _SECRET.match(last) and not _SAMPLE.search(last) and name not in kept:
            left_out.append(name)
        elif path.is_symlink():
            files[name] = SourceFile(path=path, link=_inside(root, path), executable=False)
        elif path.is_file():
            files[name] = SourceFile(path=path, link=None, executable=os.access(path, os.X_OK))
    return ProjectSource(
        folder=root, revision=_revision(root, deadline), files=files, left_out=tuple(left_out)
    )


def clone(told: str, target: Path, deadline: Deadline) -> str:
    """Fetch one revision of GIT_URL[@REV] into a folder; the commit."""
    url, revision = split_git_url(told)
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    git = ("git", "-C", target)
    try:
        run((*git, "init", "--quiet"), deadline=deadline, env=quiet)
        fetch = (*git, "fetch", "--quiet", "--depth", "1", "--", url, revision)
        if not run(fetch, deadline=deadline, env=quiet, check=False).ok:
            # a server that gives no single commits, or a short hash
            whole = (*git, "fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/mirror/*")
            run(whole, deadline=deadline, env=quiet)
            run((*git, "checkout", "--quiet", "--detach", revision), deadline=deadline, env=quiet)
        else:
            run(
                (*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"),
                deadline=deadline,
                env=quiet,
            )
        return run((*git, "rev-parse", "HEAD"), deadline=deadline, env=quiet).out.strip()
    except ProgramError as broken:
        raise InputError(
            f"cannot fetch {redact_credentials(url)}",
            why=redact_credentials(broken.why or str(broken)),
            next_step="check the address, the revision (…@REV), and that git may read it from here",
        ) from broken


def split_git_url(told: str) -> tuple[str, str]:
    """URL and revision (HEAD where none is named); an @ before the host belongs to the URL."""
    url = told.removeprefix("git+")
    head, at, tail = url.rpartition("@")
    after_host = "/" in head.partition("://")[2] or (":" in head and "://" not in head)
    revision = "HEAD"
    if at and after_host:
        url, revision = head, tail
    if not _REVISION.match(revision) or url.startswith("-"):
        raise InputError(f"not a revision: {revision!r}", next_step="name a commit, tag or branch")
    return url, revision


def redact_credentials(text: str) -> str:
    """URLs of a text without user and password."""
    return re.sub(r"(\w://)[^/@\s]+@", r"\1", text)


def _inner(folder: Path, subdirectory: str) -> Path:
    inner = folder / subdirectory
    return inner if subdirectory and (inner / "pyproject.toml").is_file() else folder


def _inside(root: Path, link: Path) -> str:
    target = os.readlink(link)  # noqa: PTH115 - the text, not the path it leads to
    seen = Path(os.path.normpath(link.parent / target))
    if Path(target).is_absolute() or not seen.is_relative_to(root):
        raise InputError(
            f"{link.relative_to(root)} is a link that leads out of the project",
            why=f"to {target}: what stands there is not part of the source",
            next_step="put the file into the project, or name the link in .dockerignore",
        )
    if not link.resolve().is_relative_to(root):
        raise InputError(
            f"{link.relative_to(root)} is a link that leads out of the project",
            why="by another link on its way",
            next_step="put the file into the project, or name the link in .dockerignore",
        )
    return target


def _revision(root: Path, deadline: Deadline) -> str | None:
    words = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        inside = run(("git", "-C", root, *words), deadline=deadline.within(10))
    except ProgramError:
        return None
    return inside.out.strip() or None
