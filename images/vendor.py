"""Put what no index has (git, URL, path) into the private index as wheels, pinned by hash."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from urllib3.exceptions import HTTPError

from images.application_dockerfile import BUILD_CONSTRAINTS, COMPILER_FLAGS, SOURCE_DATE_EPOCH
from images.build_backends import (
    choose_backends,
    list_build_requirements,
    read_pinned_backends,
)
from images.project_lock import ProjectLock
from images.source import check_large_files, clone, fetch_tags, redact_credentials
from images.uv import find_uv, uv_environment
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from mirror.http_pool import open_url
from mirror.lock import PinnedDistribution


@dataclass(frozen=True, slots=True, kw_only=True)
class VendoredDistribution:
    """A distribution that comes from the private index instead of its locked origin.

    ``stand_in`` is true if the user gave it in place of the locked one.
    """

    name: str
    version: str
    origin: str
    filename: str
    sha256: str
    stand_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateIndex:
    """``url`` is the simple index; ``upload`` adds a file to it and returns its SHA-256."""

    url: str
    upload: Callable[[Path], str]


def check_sources(lock: ProjectLock, sources: Mapping[str, str]) -> None:
    """Raise InputError for a name of --vendor that is not in the lock, and a missing file."""
    if unknown := sorted(set(sources) - {pin.name for pin in lock.pins}):
        needed = ", ".join(pin.name for pin in lock.pins if pin.origin)
        raise InputError(
            f"--vendor {unknown[0]}: {lock.file} has no such distribution",
            why="the image would not contain it",
            next_step=f"name one of: {needed}"
            if needed
            else "leave the option out: an index has everything in the lock",
        )
    for name, source in sources.items():
        is_remote = urlsplit(source).scheme not in ("", "file") or source.startswith("git@")
        path = Path(unquote(urlsplit(source).path) if source.startswith("file:") else source)
        if not is_remote and not path.exists():
            raise _missing(name, source)


def vendor(
    lock: ProjectLock,
    sources: Mapping[str, str],
    scratch: Path,
    index: PrivateIndex,
    progress: Progress,
    deadline: Deadline,
) -> tuple[ProjectLock, tuple[VendoredDistribution, ...]]:
    """Return the lock with every pin in an index, and what was vendored for that.

    ``sources`` maps canonical names to the user's WHEEL, DIR or URL; `check_sources` has accepted
    them. Raises InputError for an origin that cannot be reached, and a file whose hash is not
    locked.
    """
    pins, vendored = [], []
    for pin in lock.pins:
        if not pin.origin and pin.name not in sources:
            pins.append(pin)
            continue
        progress.step(f"vendor {pin.name}")
        folder = scratch / pin.name
        folder.mkdir(parents=True, exist_ok=True)
        wanted = pin
        if pin.name in sources:  # the locked hashes do not apply to a stand-in
            wanted = replace(pin, origin=sources[pin.name], hashes=())
        wheel = _get_wheel(wanted, folder, index.url, deadline)
        version = _check_wheel(wheel, pin)
        wheel = _add_build_tag(wheel, folder)
        digest = index.upload(wheel)
        hashes = (f"sha256:{digest}",)
        pins.append(replace(pin, specifier=f"=={version}", hashes=hashes, origin=""))
        vendored.append(
            VendoredDistribution(
                name=pin.name,
                version=version,
                origin=redact_credentials(pin.origin),
                filename=wheel.name,
                sha256=digest,
                stand_in=pin.name in sources,
            )
        )
    return replace(lock, pins=tuple(pins)), tuple(vendored)


def _get_wheel(pin: PinnedDistribution, folder: Path, index: str, deadline: Deadline) -> Path:
    """Fetch what is at a pin's origin; build a wheel if it is not one."""
    parts = urlsplit(pin.origin)
    url, fragment = urldefrag(pin.origin)
    if pin.source == "git" or parts.path.endswith(".git"):
        checkout = folder / "checkout"
        checkout.mkdir()
        clone(url, checkout, deadline)
        subdirectory = re.search(r"subdirectory=([^&]+)", fragment)
        project = checkout / unquote(subdirectory[1] if subdirectory else "")
        fetch_tags(url, checkout, project, deadline)
        check_large_files(pin.name, checkout, project, deadline)
        return _build_wheel(pin, project, folder, index, deadline)
    if parts.scheme in ("http", "https"):
        path = _download(pin, url, folder, deadline)
    else:
        path = Path(unquote(urlsplit(url).path) if parts.scheme == "file" else pin.origin)
    if not path.exists():
        raise _missing(pin.name, pin.origin)
    if path.is_file():
        in_url = re.findall(r"sha256=([0-9a-f]{64})", fragment)
        _check_hash(pin, url, path, pin.sha256_digests | {*in_url})
    return path if path.suffix == ".whl" else _build_wheel(pin, path, folder, index, deadline)


def _missing(name: str, source: str) -> InputError:
    return InputError(
        f"cannot vendor {name}: {source} does not exist",
        why="there is no such file or folder",
        next_step="give a wheel, a folder or a URL",
    )


def _download(pin: PinnedDistribution, url: str, folder: Path, deadline: Deadline) -> Path:
    path = folder / (unquote(urlsplit(url).path).rpartition("/")[2] or pin.name)
    try:
        # the bytes as they are: servers label a .tar.gz as compressed content, which it is not
        with open_url(url, timeout=30) as response, path.open("wb") as file:
            for chunk in response.stream(1 << 20, decode_content=False):
                if deadline.expired:
                    raise InputError(
                        f"{pin.name} did not arrive in time from {redact_credentials(url)}",
                        next_step="run again with a longer --timeout",
                    )
                file.write(chunk)
    except HTTPError as error:
        raise InputError(
            f"cannot fetch {pin.name} from {redact_credentials(url)}",
            why=f"{type(error).__name__}: {redact_credentials(str(error))}",
            next_step=f"give a file for it: --vendor {pin.name}=WHEEL",
        ) from error
    return path


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_hash(pin: PinnedDistribution, url: str, path: Path, locked: frozenset[str]) -> None:
    """Raise InputError if SHA-256 digests are locked and the file has none of them."""
    if locked and (digest := _hash_file(path)) not in locked:
        raise InputError(
            f"{pin.name} from {redact_credentials(url)} is not what was locked",
            why=f"its SHA-256 is {digest}, the lock has {', '.join(sorted(locked))}",
            next_step="find out why the file changed; if the change is intended, lock again",
        )


def _build_wheel(
    pin: PinnedDistribution, project: Path, scratch: Path, index: str, deadline: Deadline
) -> Path:
    """Run `uv build`; build backends come from the mirror and are pinned."""
    out = scratch / "dist"
    backends = scratch / BUILD_CONSTRAINTS
    requires = list_build_requirements(project) if project.is_dir() else []
    backends.write_text(
        choose_backends(read_pinned_backends(), (), requires, index, deadline), encoding="utf-8"
    )
    env = uv_environment(
        UV_DEFAULT_INDEX=index,
        UV_NO_CONFIG="1",
        SOURCE_DATE_EPOCH=SOURCE_DATE_EPOCH,
        CFLAGS=COMPILER_FLAGS,
        CXXFLAGS=COMPILER_FLAGS,
    )
    constraints = ("--build-constraints", backends, "--require-hashes")
    argv = (find_uv(), "build", "--wheel", "--out-dir", out, *constraints, project)
    try:
        run(argv, env=env, deadline=deadline)
    except ProgramError as error:
        raise InputError(
            f"{pin.name} cannot be built from {project.name}",
            why=error.why,
            next_step="build its wheel on a machine that has what it needs, "
            f"then --vendor {pin.name}=WHEEL",
        ) from error
    (wheel,) = out.glob("*.whl")
    return wheel


def _check_wheel(wheel: Path, pin: PinnedDistribution) -> str:
    """Return a wheel's version. Raises InputError unless it is what was locked, for Linux."""
    try:
        name, version, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise InputError(f"not a wheel: {wheel.name}", why=str(error)) from error
    if canonicalize_name(name) != pin.name:
        raise InputError(
            f"{wheel.name} is not {pin.name}", next_step="give a distribution with the locked name"
        )
    if pin.version and str(version) != pin.version:
        raise InputError(
            f"{wheel.name} is not the locked version of {pin.name}",
            why=f"it is {version}, the lock has {pin.version}",
            next_step="give that version, or lock again",
        )
    if not any(tag.platform == "any" or "linux" in tag.platform for tag in tags):
        raise InputError(
            f"{wheel.name} is for another platform only",
            why="the image runs Linux",
            next_step=f"give a Linux wheel: --vendor {pin.name}=WHEEL",
        )
    return str(version)


def _add_build_tag(wheel: Path, folder: Path) -> Path:
    """Copy a wheel to a name with the hash of its content as the build tag.

    A file in an index never changes, but another commit may have the same version. Installers take
    the wheel whose hash is pinned.
    """
    parts = wheel.name.removesuffix(".whl").split("-")
    name = "-".join([*parts[:2], f"0_{_hash_file(wheel)[:12]}", *parts[-3:]]) + ".whl"
    target = folder / "upload" / name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(wheel, target)
    return target
