"""Recipe → Dockerfile. Pure; every RUN and COPY in exec form, so no shell reads a value."""

from __future__ import annotations

import json

from images.mirror_recipe import MirrorRecipe

VENV_PATH = "/opt/mirror"  # a virtual environment; the mirror's own code is in app/
APP_PATH = f"{VENV_PATH}/app"
PROBE_PATH = "/opt/probe"
CA_FILE = "ca.pem"
SYSTEM_SCRIPT = "system.sh"

_BUILD = "/build"
_PIP = f"{_BUILD}/pip/bin/python3"
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def render_mirror_dockerfile(
    recipe: MirrorRecipe, *, base: str, architecture: str, ca: bool
) -> str:
    """Two stages: pip and the CA stay in the first; layers from the stable to the changing one.

    ``architecture`` is the base image's, as Docker names it; it has to be among the recipe's
    platforms. With ``ca`` the context holds CA_FILE.
    """
    hashed = ("--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--no-compile")
    requirements, probes = recipe.requirements, recipe.probe.requirements
    programs = f"{_BUILD}/probe"
    lines = [
        f"FROM {base} AS packages",
        _copy(requirements, probes, *([CA_FILE] if ca else []), f"{_BUILD}/"),
        *([f"ENV PIP_CERT={_BUILD}/{CA_FILE}"] if ca else []),
        "ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore",
        _run("python3", "-m", "venv", f"{_BUILD}/pip"),
        _run("python3", "-m", "venv", "--without-pip", VENV_PATH),
        _run(
            *(_PIP, "-m", "pip", "--python", f"{VENV_PATH}/bin/python3", "install", *hashed),
            *("--requirement", f"{_BUILD}/{requirements}"),
        ),
        _run(
            *(_PIP, "-m", "pip", "install", *hashed, "--no-deps", "--target", programs),
            *("--platform", recipe.probe.platforms[architecture]),
            *("--requirement", f"{_BUILD}/{probes}"),
        ),
        _compile(f"{VENV_PATH}/lib"),
        "",
        f"FROM {base}",
        "ENTRYPOINT []",
        _copy(SYSTEM_SCRIPT, f"{_BUILD}/"),
        _run(
            *("sh", f"{_BUILD}/{SYSTEM_SCRIPT}", recipe.user, str(recipe.user_id)),
            *recipe.system_packages,
        ),
        *(
            _copy(f"{programs}/bin/{program}", f"{PROBE_PATH}/{program}", stage="packages")
            for program in recipe.probe.programs
        ),
        _run("ln", "-s", "/usr/bin/busybox", f"{PROBE_PATH}/busybox"),
        _copy(VENV_PATH, VENV_PATH, stage="packages"),
        f"ENV PATH={VENV_PATH}/bin:{_SEARCH_PATH} PYTHONPATH={APP_PATH}"
        " HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1",
        _copy("mirror/", f"{APP_PATH}/mirror/"),
        _compile(APP_PATH),
        f"USER {recipe.user_id}:{recipe.user_id}",
        "WORKDIR /",
        # devpi as PID 1 ignores SIGTERM, and stops at once on SIGINT; so does nginx
        "STOPSIGNAL SIGINT",
        "",
    ]
    return "\n".join(lines)


def _run(*argv: str) -> str:
    return f"RUN {json.dumps(argv)}"


def _copy(*paths: str, stage: str | None = None) -> str:
    return f"COPY {f'--from={stage} ' if stage else ''}{json.dumps(paths)}"


def _compile(folder: str) -> str:
    """Bytecode that holds whatever the files' times are: nobody can write it later."""
    words = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", folder)
    return _run("python3", "-m", "compileall", *words)
