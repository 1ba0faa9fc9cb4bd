"""What no index has (git, URL, path) becomes a wheel in the private index, pinned by its hash."""

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

from images.application_dockerfile import BUILD_CONSTRAINTS, COMPILER_FLAGS
from images.mirror_recipe import RECIPES
from images.project_lock import LockedDistribution, ProjectLock, find_uv, uv_environment
from images.source import clone, redact_credentials
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from mirror.http_pool import open_url

_EPOCH = "315532800"  # 1980-01-01: a wheel of the same source has the same bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VendoredDistribution:
    """A distribution that the image takes from the private index instead of from its origin."""

    name: str
    version: str
    origin: str
    filename: str
    sha256: str
    stand_in: bool  # the user gave it in place of what was locked


Upload = Callable[[Path], str]  # puts a wheel into the private index; its SHA-256 there


def vendor(
    lock: ProjectLock,
    sources: Mapping[str, str],
    scratch: Path,
    *,
    index: str,
    upload: Upload,
    progress: Progress,
    deadline: Deadline,
) -> tuple[ProjectLock, tuple[VendoredDistribution, ...]]:
    """The lock with every pin in an index. ``given``: canonical name → WHEEL, DIR or URL.

    Raises InputError for a name that the lock has not, for an origin that cannot be reached and
    for a file that is not what was locked.
    """
    known = {pin.name for pin in lock.pins}
    if strange := sorted(set(sources) - known):
        raise InputError(
            f"--vendor {strange[0]}: {lock.file} has no such distribution",
            why="it would be in no image",
            next_step="name one of: " + ", ".join(pin.name for pin in lock.off_index),
        )
    pins, done = [], []
    for pin in lock.pins:
        if not pin.origin and pin.name not in sources:
            pins.append(pin)
            continue
        progress.step(f"vendor {pin.name}")
        origin = sources.get(pin.name, pin.origin)
        folder = scratch / pin.name
        folder.mkdir(parents=True, exist_ok=True)
        # a stand-in is another file than the locked one
        locks = () if pin.name in sources else pin.hashes
        wheel = _wheel(pin, origin, locks, folder, index=index, deadline=deadline)
        name, version = _named(wheel, pin)
        wheel = _with_build(wheel, folder)
        digest = upload(wheel)
        pins.append(
            LockedDistribution(
                name=name, version=version, marker=pin.marker, hashes=(f"sha256:{digest}",)
            )
        )
        done.append(
            VendoredDistribution(
                name=name,
                version=version,
                origin=redact_credentials(pin.origin),
                filename=wheel.name,
                sha256=digest,
                stand_in=pin.name in sources,
            )
        )
    return replace(lock, pins=tuple(pins)), tuple(done)


def _wheel(
    pin: LockedDistribution,
    origin: str,
    locks: tuple[str, ...],
    folder: Path,
    *,
    index: str,
    deadline: Deadline,
) -> Path:
    """One wheel of an origin, fetched and, where it is not a wheel, built."""
    parts = urlsplit(origin)
    if origin.startswith("git+") or parts.path.endswith(".git"):
        bare, fragment = urldefrag(origin)
        checkout = folder / "checkout"
        checkout.mkdir()
        clone(bare, checkout, deadline)
        inner = re.search(r"subdirectory=([^&]+)", fragment)
        return _build(pin, checkout / unquote(inner[1] if inner else ""), folder, index, deadline)
    url, fragment = urldefrag(origin)
    if parts.scheme in ("http", "https"):
        path = _fetch(pin, url, folder, deadline)
    else:
        path = Path(unquote(urlsplit(url).path) if parts.scheme == "file" else origin)
    if not path.exists():
        raise InputError(
            f"nothing to vendor {pin.name} from: {origin}",
            next_step="give a wheel, a folder or a URL",
        )
    if path.is_file():
        told = re.findall(r"sha256=([0-9a-f]{64})", fragment)
        _check(pin, url, path, {*locks, *(f"sha256:{one}" for one in told)})
    if path.suffix == ".whl":
        return path
    return _build(pin, path, folder, index, deadline)


def _fetch(pin: LockedDistribution, url: str, folder: Path, deadline: Deadline) -> Path:
    path = folder / (unquote(urlsplit(url).path).rpartition("/")[2] or pin.name)
    try:
        with open_url(url, timeout=30) as response, path.open("wb") as out:
            for chunk in response.stream(1 << 20):
                if deadline.expired:
                    raise InputError(
                        f"{pin.name} did not come in time from {redact_credentials(url)}",
                        next_step="run again with a longer --timeout",
                    )
                out.write(chunk)
    except HTTPError as broken:
        raise InputError(
            f"{pin.name} cannot be fetched from {redact_credentials(url)}",
            why=f"{type(broken).__name__}: {redact_credentials(str(broken))}",
            next_step=f"give a file for it: --vendor {pin.name}=WHEEL",
        ) from broken
    return path


def _check(pin: LockedDistribution, url: str, path: Path, wanted: set[str]) -> None:
    """InputError where a file has none of the hashes that were locked for it, if any were."""
    with path.open("rb") as content:
        digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    known = {one for one in wanted if one.startswith("sha256:")}
    if known and digest not in known:
        raise InputError(
            f"{pin.name} from {redact_credentials(url)} is not what was locked",
            why=f"it is {digest}, the lock has {', '.join(sorted(known))}",
            next_step="find out why it changed; if it should have, lock again",
        )


def _build(
    pin: LockedDistribution, folder: Path, scratch: Path, index: str, deadline: Deadline
) -> Path:
    """`uv build` with everything it needs from the mirror, and pinned."""
    out = scratch / "dist"
    same = {"SOURCE_DATE_EPOCH": _EPOCH, "CFLAGS": COMPILER_FLAGS, "CXXFLAGS": COMPILER_FLAGS}
    env = uv_environment(UV_DEFAULT_INDEX=index, UV_NO_CONFIG="1", **same)
    pins = ("--build-constraints", RECIPES / BUILD_CONSTRAINTS, "--require-hashes")
    words = (find_uv(), "build", "--wheel", "--out-dir", out, *pins)
    try:
        run((*words, folder), env=env, deadline=deadline)
    except ProgramError as broken:
        raise InputError(
            f"{pin.name} cannot be built from {folder.name}",
            why=broken.why,
            next_step=f"build its wheel where that works, then --vendor {pin.name}=WHEEL",
        ) from broken
    (wheel,) = out.glob("*.whl")
    return wheel


def _named(wheel: Path, pin: LockedDistribution) -> tuple[str, str]:
    try:
        name, version, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as broken:
        raise InputError(f"not a wheel: {wheel.name}", why=str(broken)) from broken
    if canonicalize_name(name) != pin.name:
        raise InputError(
            f"{wheel.name} is not {pin.name}",
            next_step="give a distribution of the name that is locked",
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
            why="an image is Linux",
            next_step=f"give a Linux wheel: --vendor {pin.name}=WHEEL",
        )
    return pin.name, str(version)


def _with_build(wheel: Path, folder: Path) -> Path:
    """The wheel under a name with its content in the build tag.

    A file of an index never changes; another commit may well have the same version. Installers
    take the one whose hash is pinned.
    """
    parts = wheel.name.removesuffix(".whl").split("-")
    with wheel.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    tagged = "-".join([*parts[:2], f"0_{digest[:12]}", *parts[-3:]]) + ".whl"
    target = folder / "upload" / tagged
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(wheel, target)
    return target
