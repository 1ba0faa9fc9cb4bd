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


def builder_environment(index: str) -> dict[str, str]:
    """Return the variables of every step that installs. ``index`` is its URL in the sandbox."""
    return {
        "NO_COLOR": "1",
        "PYTHONHASHSEED": "0",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_LINK_MODE": "hardlink",
        "UV_COMPILE_BYTECODE": "0",
        "UV_DEFAULT_INDEX": index,
        "PIP_INDEX_URL": index,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH,
        "UV_HTTP_TIMEOUT": "120",
        # debug information contains the name of a temporary folder, which differs in each build
        "CFLAGS": COMPILER_FLAGS,
        "CXXFLAGS": COMPILER_FLAGS,
    }


def run_environment(recipe: ApplicationRecipe) -> dict[str, str]:
    """Return the variables of the image, without PATH."""
    return {
        **_OFFLINE,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": venv_path(recipe),
        "HOME": "/tmp",
        **recipe.environment,
    }


def search_path(recipe: ApplicationRecipe) -> str:
    """Return the image's PATH."""
    return f"{venv_path(recipe)}/bin:{SEARCH_PATH}"


def default_command(recipe: ApplicationRecipe) -> tuple[str, ...]:
    """Return the command of the image: its first start."""
    return recipe.starts[0].argv if recipe.starts else ("python3",)


def owned_folders(recipe: ApplicationRecipe) -> tuple[str, ...]:
    """Return the folders below the application's that its user owns even if the source has none."""
    return (*recipe.writable, *filter(None, [recipe.workdir]))


def install_uv(python: str) -> tuple[str, ...]:
    """Return the command that installs uv into the environment of a Python."""
    return (
        *(python, "-m", "pip", "install", "--require-hashes"),
        *("--only-binary", ":all:", "--no-cache-dir"),
        *("--requirement", f"{BUILD_PATH}/{UV_REQUIREMENTS}"),
    )


def install_locked(recipe: ApplicationRecipe, uv: str) -> tuple[str, ...]:
    """Return the command of uv that installs what the lock pins."""
    return (
        *_install(recipe, uv),
        *("--build-constraints", f"{BUILD_PATH}/{BUILD_CONSTRAINTS}"),
        *("--cache-dir", f"{BUILD_PATH}/cache", "--require-hashes"),
        *("--requirement", f"{BUILD_PATH}/{REQUIREMENTS}"),
    )


def install_members(
    recipe: ApplicationRecipe, uv: str, members: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the command of uv that installs folders of the source; empty if there are none."""
    folders = [f"{recipe.folder}/{member}".removesuffix("/.") for member in members]
    editable = ("--editable",) if recipe.editable else ()
    targets = [word for folder in folders for word in (*editable, folder)]
    if not targets:
        return ()
    return (
        *_install(recipe, uv),
        *("--build-constraints", f"{BUILD_PATH}/{PROJECT_CONSTRAINTS}"),
        *("--cache-dir", f"{BUILD_PATH}/cache-project"),
        *targets,
    )


def _install(recipe: ApplicationRecipe, uv: str) -> tuple[str, ...]:
    return (uv, "pip", "install", "--python", f"{venv_path(recipe)}/bin/python3", "--no-deps")


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
    install_project = install_members(recipe, uv, members)
    building = {**(versions or {}), **recipe.build_environment}
    steps = [
        run("env", *(f"{key}={value}" for key, value in recipe.build_environment.items()), *step)
        for step in recipe.build_steps
    ]
    owner = f"{recipe.user_id}:{recipe.user_id}"
    variables = " ".join(
        f'{key}="{value}"' if " " in value else f"{key}={value}"
        for key, value in builder_environment(index).items()
    )
    lines = [
        f"FROM {build_base} AS builder",
        f"ENV {variables}",
        copy(UV_REQUIREMENTS, BUILD_CONSTRAINTS, INSTALLER, BYTECODE_COMPILER, f"{BUILD_PATH}/"),
        run("python3", "-m", "venv", f"{BUILD_PATH}/uv"),
        run(*install_uv(f"{BUILD_PATH}/uv/bin/python3")),
        run("python3", "-m", "venv", "--without-pip", venv),
        copy(REQUIREMENTS, f"{BUILD_PATH}/"),
        run("python3", f"{BUILD_PATH}/{INSTALLER}", "install", venv, *install_locked(recipe, uv)),
        "",
        "FROM builder AS project",
        *((f"ENV {assign(building)}",) if building else ()),
        *((copy(PROJECT_CONSTRAINTS, f"{BUILD_PATH}/"),) if members else ()),
        copy(f"{SOURCE_FOLDER}/", f"{recipe.folder}/"),
        run("python3", f"{BUILD_PATH}/{INSTALLER}", "project", venv, "/project", *install_project),
        "",
        f"FROM {run_base}",
        copy(uv, UV_PATH, stage="builder"),
        # the user owns the folder: programs write files beside their own
        copy(f"{EMPTY_FOLDER}/", f"{recipe.folder}/", owner=owner),
        copy(venv, venv, stage="builder"),
        f"ENV PATH={search_path(recipe)} " + assign(run_environment(recipe)),
        *(
            copy(f"{EMPTY_FOLDER}/", f"{recipe.folder}/{folder}/", owner=owner)
            for folder in owned_folders(recipe)
        ),
        f"USER {owner}",
        f"WORKDIR {workdir_path(recipe)}",
        f"CMD {json.dumps(default_command(recipe))}",
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
