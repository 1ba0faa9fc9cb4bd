"""Render the Dockerfile of the mirror's image. Pure."""

from __future__ import annotations

from images.dockerfile_instructions import BUILD_PATH, SEARCH_PATH, copy, run
from images.mirror_recipe import MirrorRecipe

VENV_PATH = "/opt/mirror"
APP_PATH = f"{VENV_PATH}/app"  # the mirror's own code
PROBE_PATH = "/opt/probe"
CA_FILE = "ca.pem"
SYSTEM_SCRIPT = "mirror_system.sh"

_PIP = f"{BUILD_PATH}/pip/bin/python3"


def render_mirror_dockerfile(
    recipe: MirrorRecipe, *, base: str, architecture: str, ca: bool
) -> str:
    """Return a Dockerfile of two stages; pip and the CA file stay in the first.

    Layers that change often come last. ``architecture`` is the base image's, as Docker names it,
    and must be one of the recipe's platforms. With ``ca`` the context must contain CA_FILE.
    """
    hashed = ("--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--no-compile")
    requirements, probe_requirements = recipe.requirements, recipe.probe.requirements
    programs = f"{BUILD_PATH}/probe"
    lines = [
        f"FROM {base} AS packages",
        copy(requirements, probe_requirements, *([CA_FILE] if ca else []), f"{BUILD_PATH}/"),
        *([f"ENV PIP_CERT={BUILD_PATH}/{CA_FILE}"] if ca else []),
        "ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore",
        run("python3", "-m", "venv", f"{BUILD_PATH}/pip"),
        run("python3", "-m", "venv", "--without-pip", VENV_PATH),
        run(
            *(_PIP, "-m", "pip", "--python", f"{VENV_PATH}/bin/python3", "install", *hashed),
            *("--requirement", f"{BUILD_PATH}/{requirements}"),
        ),
        run(
            *(_PIP, "-m", "pip", "install", *hashed, "--no-deps", "--target", programs),
            *("--platform", recipe.probe.platforms[architecture]),
            *("--requirement", f"{BUILD_PATH}/{probe_requirements}"),
        ),
        _compile(f"{VENV_PATH}/lib"),
        "",
        f"FROM {base}",
        "ENTRYPOINT []",
        copy(SYSTEM_SCRIPT, f"{BUILD_PATH}/"),
        run(
            *("sh", f"{BUILD_PATH}/{SYSTEM_SCRIPT}", recipe.user, str(recipe.user_id)),
            *recipe.system_packages,
        ),
        *(
            copy(f"{programs}/bin/{program}", f"{PROBE_PATH}/{program}", stage="packages")
            for program in recipe.probe.programs
        ),
        run("ln", "-s", "/usr/bin/busybox", f"{PROBE_PATH}/busybox"),
        copy(VENV_PATH, VENV_PATH, stage="packages"),
        f"ENV PATH={VENV_PATH}/bin:{SEARCH_PATH} PYTHONPATH={APP_PATH}"
        " HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1",
        copy("mirror/", f"{APP_PATH}/mirror/"),
        _compile(APP_PATH),
        f"USER {recipe.user_id}:{recipe.user_id}",
        "WORKDIR /",
        # as PID 1, devpi ignores SIGTERM; devpi and nginx both stop at once on SIGINT
        "STOPSIGNAL SIGINT",
        "",
    ]
    return "\n".join(lines)


def _compile(folder: str) -> str:
    """Return the RUN instruction that compiles bytecode; it does not depend on file times."""
    options = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", folder)
    return run("python3", "-m", "compileall", *options)
