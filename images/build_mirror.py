"""The mirror image, in a straight line: recipe → context → build → checks → name."""

from __future__ import annotations

import hashlib
import io
import re
import ssl
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import platformdirs

import mirror
from images.engine import EngineClient, EngineImage
from images.mirror_dockerfile import CA_FILE, SYSTEM_SCRIPT, render_mirror_dockerfile
from images.mirror_recipe import RECIPES, MirrorRecipe, load_mirror_recipe
from mirror.core.errors import EngineError, InputError, ProgramError, UnfitError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

INPUTS_LABEL = "io.github.pypi-mirror.inputs"
_PROJECT = "pypi-mirror"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image that the engine holds. ``size`` in bytes; ``built`` False where it was there."""

    reference: str
    id: str
    architecture: str
    size: int
    built: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorImagePlan:
    """All that decides what the image is, and so its name. ``inputs`` is their SHA-256 (hex)."""

    recipe: MirrorRecipe
    base: str
    architecture: str
    files: Mapping[str, bytes]  # path in the build context → content
    version: str
    inputs_sha256: str

    @property
    def reference(self) -> str:
        return f"{self.recipe.name}:{self.version}-{self.inputs_sha256[:12]}"


def build_mirror(
    engine: EngineClient, *, base: str | None = None, ca: str | None = None, progress: Progress
) -> BuiltImage:
    """The mirror image under its name: found where nothing has changed, else built.

    ``ca``: certificates to trust while building, as read_ca_bundle gives them. Raises EngineError
    with the end of the log for a failed build, which leaves no name and no container behind.
    """
    plan = plan_mirror(engine, base=base, progress=progress)
    found = engine.find(plan.reference)
    if found:
        return _image(plan, found, built=False)
    progress.step(f"build {plan.reference}")
    made = _build(engine, plan, ca, progress)
    progress.step(f"check {plan.reference}")
    _check(engine, plan.recipe, made)
    engine.tag(made, plan.reference)
    named = engine.find(plan.reference)
    if named is None:
        raise EngineError(f"{plan.reference} was built and is gone again")
    return _image(plan, named, built=True)


def plan_mirror(
    engine: EngineClient, *, base: str | None = None, progress: Progress
) -> MirrorImagePlan:
    """What would be built, and under which name; fetches the base image where it is missing."""
    recipe = load_mirror_recipe("mirror")
    name = base or recipe.base
    held = engine.find(name) or fetch_base_image(engine, name, progress)
    if held.architecture not in recipe.probe.platforms:
        raise UnfitError(
            f"no mirror image for {held.architecture}: {name} is for that architecture",
            why="the recipe has " + ", ".join(recipe.probe.platforms),
            next_step="give another base image with --base",
        )
    files = collect_context_files(recipe)
    text = render_mirror_dockerfile(recipe, base=name, architecture=held.architecture, ca=False)
    inputs = _digest({**files, "Dockerfile": text.encode(), "base": held.id.encode()})
    return MirrorImagePlan(
        recipe=recipe,
        base=name,
        architecture=held.architecture,
        files=files,
        version=_version(),
        inputs_sha256=inputs,
    )


def read_ca_bundle(path: Path) -> str:
    """The certificates of a PEM file, nothing else of it. InputError where there are none."""

    def bad(why: str) -> InputError:
        return InputError(
            f"bad CA file: {path}",
            why=why,
            next_step="give --ca-bundle a file of certificates in PEM form",
        )

    try:
        blocks = _CERTIFICATE.findall(path.read_text(errors="replace"))
    except OSError as broken:
        raise bad(broken.strerror or str(broken)) from broken
    if not blocks:
        raise bad("it holds no -----BEGIN CERTIFICATE-----")
    text = "\n".join(blocks) + "\n"
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as broken:
        raise bad(f"a certificate in it cannot be read: {broken}") from broken
    return text


# -- steps --------------------------------------------------------------------------------------


def fetch_base_image(engine: EngineClient, name: str, progress: Progress) -> EngineImage:
    try:
        return engine.pull(name, progress)
    except EngineError as broken:
        raise EngineError(
            f"no base image: the Docker engine has no {name} and cannot fetch it",
            why=broken.why,
            next_step="load it (`docker load`), or name one the engine has or can fetch "
            "with --base: Debian with Python 3.13",
        ) from broken


def _build(engine: EngineClient, plan: MirrorImagePlan, ca: str | None, progress: Progress) -> str:
    text = render_mirror_dockerfile(
        plan.recipe, base=plan.base, architecture=plan.architecture, ca=ca is not None
    )
    files = {**plan.files, "Dockerfile": text.encode()}
    if ca:
        files[CA_FILE] = ca.encode()
    labels = {
        "org.opencontainers.image.title": plan.recipe.title,
        "org.opencontainers.image.version": plan.version,
        INPUTS_LABEL: plan.inputs_sha256,
    }
    if revision := _revision():
        labels["org.opencontainers.image.revision"] = revision
    path = build_log_path()
    with path.open("w") as log, pack_files(files) as context:
        try:
            return engine.build(context, log=log, progress=progress, labels=labels)
        except EngineError as broken:
            broken.next_step = broken.next_step or f"the whole log: {path}"
            if "CERTIFICATE_VERIFY_FAILED" in broken.why:
                broken.next_step = (
                    "your network intercepts TLS: name the certificates to trust with "
                    f"--ca-bundle FILE; {broken.next_step}"
                )
            raise


def _check(engine: EngineClient, recipe: MirrorRecipe, image: str) -> None:
    for argv in recipe.checks:
        ran = engine.run(image, argv)
        if ran.exit_code != 0:
            raise EngineError(
                f"the image was built, but {argv[0]} does not run in it ({ran.exit_code})",
                why=ran.output[-1500:].strip(),
                next_step="is the base image Debian with Python 3.13? give another with --base",
            )


def _image(plan: MirrorImagePlan, held: EngineImage, *, built: bool) -> BuiltImage:
    return BuiltImage(
        reference=plan.reference,
        id=held.id,
        architecture=held.architecture,
        size=held.size,
        built=built,
    )


# -- what goes in -------------------------------------------------------------------------------


def collect_context_files(recipe: MirrorRecipe) -> dict[str, bytes]:
    """Path in the build context → content, but for the Dockerfile and the CA."""
    names = (recipe.requirements, recipe.probe.requirements, SYSTEM_SCRIPT)
    files = {name: (RECIPES / name).read_bytes() for name in names}
    code = Path(mirror.__file__).parent
    for path in sorted(code.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[f"mirror/{path.relative_to(code).as_posix()}"] = path.read_bytes()
    return files


def _digest(parts: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(parts.items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def pack_files(files: Mapping[str, bytes]) -> io.BytesIO:
    """The same bytes for the same files: no time, owner or mode of this machine's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(_PROJECT)
    project = Path(__file__).parents[1] / "pyproject.toml"
    return str(tomllib.loads(project.read_text())["project"]["version"])


def _revision() -> str | None:
    """The commit this project stands at, with -dirty where it was edited; None outside of git.

    A label only, not an input: a commit that changes nothing in the image does not renew it.
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    words = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        return run(("git", "-C", root, *words), deadline=Deadline.after(5)).out.strip()
    except ProgramError:
        return None


def build_log_path() -> Path:
    folder = platformdirs.user_log_path(_PROJECT, appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PROJECT}-"))
    return folder / "build.log"
