"""Build the mirror's image: recipe → context → build → checks → name."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mirror
from images.engine import EngineClient
from images.engine.containers import ContainerSpec, run_to_end
from images.mirror_dockerfile import CA_FILE, SYSTEM_SCRIPT, render_mirror_dockerfile
from images.mirror_recipe import MirrorRecipe, load_mirror_recipe
from images.recipes import RECIPES
from images.shared_build import BuiltImage, build_unnamed, describe_image, get_base_image
from images.source import describe_revision
from mirror.core.errors import EngineError, InputError, UnfitError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from mirror.version import VERSION

INPUTS_LABEL = "io.github.pypi-mirror.inputs"
_ROOT = Path(__file__).parents[1]
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorImagePlan:
    """Everything that decides the image's content, and so its name.

    ``files`` maps paths in the build context to content; ``inputs_sha256`` is the hash (hex) of all
    inputs.
    """

    recipe: MirrorRecipe
    base: str
    architecture: str
    files: Mapping[str, bytes]
    version: str
    inputs_sha256: str

    @property
    def reference(self) -> str:
        return f"{self.recipe.name}:{self.version}-{self.inputs_sha256[:12]}"


def build_mirror(
    engine: EngineClient, *, base: str | None = None, ca: str | None = None, progress: Progress
) -> BuiltImage:
    """Return the mirror's image; build it unless it exists and nothing has changed.

    ``ca``: certificates to trust during the build, from read_ca_bundle. Raises EngineError with the
    end of the log if the build fails; then neither a name nor a container is left behind.
    """
    plan = plan_mirror(engine, base=base, progress=progress)
    if engine.find(plan.reference):
        return describe_image(engine, plan.reference, built=False)
    progress.step(f"build {plan.reference}")
    image = _build(engine, plan, ca, progress)
    progress.step(f"check {plan.reference}")
    _check_programs(engine, plan.recipe, image)
    engine.tag(image, plan.reference)
    return describe_image(engine, plan.reference, built=True)


def plan_mirror(
    engine: EngineClient, *, base: str | None = None, progress: Progress
) -> MirrorImagePlan:
    """Return what would be built, and its name. Pulls the base image if necessary."""
    recipe = load_mirror_recipe()
    base = base or recipe.base
    image = get_base_image(engine, base, progress)
    if image.architecture not in recipe.probe.platforms:
        raise UnfitError(
            f"no mirror image for {image.architecture}, the architecture of {base}",
            why="the recipe supports " + ", ".join(recipe.probe.platforms),
            next_step="choose another base image with --base",
        )
    files = collect_context_files(recipe)
    dockerfile = render_mirror_dockerfile(
        recipe, base=base, architecture=image.architecture, ca=False
    )
    inputs = {**files, "Dockerfile": dockerfile.encode(), "base": image.id.encode()}
    return MirrorImagePlan(
        recipe=recipe,
        base=base,
        architecture=image.architecture,
        files=files,
        version=VERSION,
        inputs_sha256=_hash_inputs(inputs),
    )


def read_ca_bundle(path: Path) -> str:
    """Return the certificates in a PEM file, without its other content. InputError if none."""

    def refuse(why: str) -> InputError:
        return InputError(
            f"bad CA file: {path}",
            why=why,
            next_step="give --ca-bundle a file with certificates in PEM format",
        )

    try:
        certificates = _CERTIFICATE.findall(path.read_text(errors="replace"))
    except OSError as error:
        raise refuse(error.strerror or str(error)) from error
    if not certificates:
        raise refuse("it has no -----BEGIN CERTIFICATE-----")
    text = "\n".join(certificates) + "\n"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise refuse(f"a certificate in it cannot be read: {error}") from error
    return text


def collect_context_files(recipe: MirrorRecipe) -> dict[str, bytes]:
    """Return the build context (path → content) without the Dockerfile and the CA file."""
    names = (recipe.requirements, recipe.probe.requirements, SYSTEM_SCRIPT)
    files = {name: (RECIPES / name).read_bytes() for name in names}
    package = Path(mirror.__file__).parent
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[f"mirror/{path.relative_to(package).as_posix()}"] = path.read_bytes()
    return files


def _build(engine: EngineClient, plan: MirrorImagePlan, ca: str | None, progress: Progress) -> str:
    dockerfile = render_mirror_dockerfile(
        plan.recipe, base=plan.base, architecture=plan.architecture, ca=ca is not None
    )
    files = {**plan.files, "Dockerfile": dockerfile.encode()}
    if ca:
        files[CA_FILE] = ca.encode()
    labels = {
        "org.opencontainers.image.title": plan.recipe.title,
        "org.opencontainers.image.version": plan.version,
        INPUTS_LABEL: plan.inputs_sha256,
    }
    # not an input: a commit that does not change the image's content does not rebuild it
    if (_ROOT / ".git").exists() and (revision := describe_revision(_ROOT, Deadline.after(5))):
        labels["org.opencontainers.image.revision"] = revision
    try:
        return build_unnamed(engine, files, progress, labels=labels)
    except EngineError as error:
        if "CERTIFICATE_VERIFY_FAILED" in error.why:
            error.next_step = (
                "your network intercepts TLS: give the certificates to trust with "
                f"--ca-bundle FILE; {error.next_step}"
            )
        raise


def _check_programs(engine: EngineClient, recipe: MirrorRecipe, image: str) -> None:
    for argv in recipe.checks:
        spec = ContainerSpec(image=image, argv=argv, read_only=True)
        result = run_to_end(engine, spec, argv[0], seconds=60)
        if result.exit_code != 0:
            raise EngineError(
                f"the image was built, but {argv[0]} does not run in it ({result.exit_code})",
                why=result.output[-1500:].strip(),
                next_step=f"choose another --base, a Debian with Python like {recipe.base}",
            )


def _hash_inputs(inputs: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(inputs.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
