"""Render the Dockerfiles of an application's image. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from images.application_recipe import ApplicationRecipe
from images.dockerfile_instructions import BUILD_PATH, SEARCH_PATH, assign, copy, run

# files of the build context
REQUIREMENTS = "requirements.txt"
BUILD_CONSTRAINTS = "build-backends.txt"
PROJECT_CONSTRAINTS = "project-backends.txt"
UV_REQUIREMENTS = "uv.txt"
INSTALLER = "installer.py"
BYTECODE_COMPILER = "bytecode.py"
SYSTEM_SCRIPT = "application_system.sh"
# folders of the build context
SOURCE_FOLDER = "source"
EMPTY_FOLDER = "empty"

UV_PATH = "/usr/local/bin/uv"
COMPILER_FLAGS = "-O2 -g0"  # of C and C++
SOURCE_DATE_EPOCH = "315532800"  # 1980-01-01, the earliest time in a wheel

_OFFLINE = {
    "UV_NO_SYNC": "1",
    "UV_OFFLINE": "1",
    "UV_FROZEN": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_CACHE": "1",
    # `uv run` must not ask for another uv or another Python than the image has
    "UV_NO_CONFIG": "1",
}


def venv_path(recipe: ApplicationRecipe) -> str:
    """Return where uv expects the environment of the project."""
    return f"{recipe.folder}/.venv"


def workdir_path(recipe: ApplicationRecipe) -> str:
    """Return the folder that the application starts in."""
    return f"{recipe.folder}/{recipe.workdir}".rstrip("/")


def render_base_dockerfile(
    recipe: ApplicationRecipe, *, base: str, packages: tuple[str, ...], apt_mirror: str | None
) -> str:
    """Return the Dockerfile that adds Debian packages to the base image.

    Only this build may reach the archive of the distribution.
    """
    arguments = (recipe.user, str(recipe.user_id), apt_mirror or "-", *packages)
    lines = (
        f"FROM {base}",
        "ENTRYPOINT []",
        copy(SYSTEM_SCRIPT, f"{BUILD_PATH}/"),
        run("sh", f"{BUILD_PATH}/{SYSTEM_SCRIPT}", *arguments),
        "",
    )
    return "\n".join(lines)


def render_application_dockerfile(
    recipe: ApplicationRecipe,
    *,
    build_base: str,
    run_base: str,
    index: str,
    members: tuple[str, ...],
    versions: Mapping[str, str] | None = None,
) -> str:
    """Return the Dockerfile with the stages builder, project and run.

    ``index`` is the mirror's URL in the sandbox. ``members`` are the folders of the source to
    install ("." is the project itself), empty for none. ``versions`` are the variables that give
    build backends a version, since the image has no git repository.
    """
    venv, uv = venv_path(recipe), f"{BUILD_PATH}/uv/bin/uv"
    install = (uv, "pip", "install", "--python", f"{venv}/bin/python3", "--no-deps")
    requirements = f"{BUILD_PATH}/{REQUIREMENTS}"
    locked = (
        *("--build-constraints", f"{BUILD_PATH}/{BUILD_CONSTRAINTS}"),
        *("--cache-dir", f"{BUILD_PATH}/cache", "--require-hashes", "--requirement", requirements),
    )
    own = (
        *("--build-constraints", f"{BUILD_PATH}/{PROJECT_CONSTRAINTS}"),
        *("--cache-dir", f"{BUILD_PATH}/cache-project"),
    )
    folders = [f"{recipe.folder}/{member}".removesuffix("/.") for member in members]
    editable = ("--editable",) if recipe.editable else ()
    targets = [word for folder in folders for word in (*editable, folder)]
    install_project = (*install, *own, *targets) if targets else ()
    environment = {**_OFFLINE, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {"VIRTUAL_ENV": venv, "HOME": "/tmp", **recipe.environment}
    building = {**(versions or {}), **recipe.build_environment}
    steps = [
        run("env", *(f"{key}={value}" for key, value in recipe.build_environment.items()), *step)
        for step in recipe.build_steps
    ]
    owner = f"{recipe.user_id}:{recipe.user_id}"
    command = recipe.starts[0].argv if recipe.starts else ("python3",)
    lines = [
        f"FROM {build_base} AS builder",
        "ENV NO_COLOR=1 PYTHONHASHSEED=0"
        " UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_LINK_MODE=hardlink UV_COMPILE_BYTECODE=0"
        f" UV_DEFAULT_INDEX={index} PIP_INDEX_URL={index} PIP_DISABLE_PIP_VERSION_CHECK=1"
        f" PIP_ROOT_USER_ACTION=ignore SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH} UV_HTTP_TIMEOUT=120"
        # debug information contains the name of a temporary folder, which differs in each build
        f' CFLAGS="{COMPILER_FLAGS}" CXXFLAGS="{COMPILER_FLAGS}"',
        copy(UV_REQUIREMENTS, BUILD_CONSTRAINTS, INSTALLER, BYTECODE_COMPILER, f"{BUILD_PATH}/"),
        run("python3", "-m", "venv", f"{BUILD_PATH}/uv"),
        run(
            *(f"{BUILD_PATH}/uv/bin/python3", "-m", "pip", "install", "--require-hashes"),
            *("--only-binary", ":all:", "--no-cache-dir"),
            *("--requirement", f"{BUILD_PATH}/{UV_REQUIREMENTS}"),
        ),
        run("python3", "-m", "venv", "--without-pip", venv),
        copy(REQUIREMENTS, f"{BUILD_PATH}/"),
        run("python3", f"{BUILD_PATH}/{INSTALLER}", "install", venv, *install, *locked),
        "",
        "FROM builder AS project",
        *((f"ENV {assign(building)}",) if building else ()),
        *((copy(PROJECT_CONSTRAINTS, f"{BUILD_PATH}/"),) if targets else ()),
        copy(f"{SOURCE_FOLDER}/", f"{recipe.folder}/"),
        run("python3", f"{BUILD_PATH}/{INSTALLER}", "project", venv, "/project", *install_project),
        "",
        f"FROM {run_base}",
        copy(uv, UV_PATH, stage="builder"),
        # the user owns the folder: programs write files beside their own
        copy(f"{EMPTY_FOLDER}/", f"{recipe.folder}/", owner=owner),
        copy(venv, venv, stage="builder"),
        f"ENV PATH={venv}/bin:{SEARCH_PATH} " + assign(environment),
        *(
            copy(f"{EMPTY_FOLDER}/", f"{recipe.folder}/{folder}/", owner=owner)
            for folder in (*recipe.writable, *filter(None, [recipe.workdir]))
        ),
        f"USER {owner}",
        f"WORKDIR {workdir_path(recipe)}",
        f"CMD {json.dumps(command)}",
        # a change to the source rebuilds only the layers from here on
        copy(f"{SOURCE_FOLDER}/", f"{recipe.folder}/", owner=owner),
        copy("/project/", f"{venv}/", stage="project"),
        *steps,
        "",
    ]
    return "\n".join(lines)


def render_label_dockerfile(image: str, labels: Mapping[str, str]) -> str:
    """Return the Dockerfile that adds labels to an image in one step, without a layer."""
    single_line = {key: " ".join(value.split()) for key, value in labels.items()}
    return f"FROM {image}\nLABEL {assign(single_line)}\n"
