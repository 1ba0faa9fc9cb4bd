"""Recipe → the Dockerfiles of an application. Pure; every RUN and COPY in exec form."""

from __future__ import annotations

import json
from collections.abc import Mapping

from images.application_recipe import ApplicationRecipe

REQUIREMENTS = "requirements.txt"
BUILD_CONSTRAINTS = "build-backends.txt"
UV_REQUIREMENTS = "uv.txt"
INSTALLER = "installer.py"
BYTECODE_COMPILER = "bytecode.py"
SYSTEM_SCRIPT = "application.sh"
SOURCE_FOLDER = "source"
EMPTY_FOLDER = "empty"
UV_PATH = "/usr/local/bin/uv"
COMPILER_FLAGS = "-O2 -g0"  # of C compilers

_BUILD = "/build"
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OFFLINE = {
    "UV_NO_SYNC": "1",
    "UV_OFFLINE": "1",
    "UV_FROZEN": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_CACHE": "1",
}


def venv_path(recipe: ApplicationRecipe) -> str:
    """Where uv itself expects the project's environment."""
    return f"{recipe.folder}/.venv"


def render_base_dockerfile(
    recipe: ApplicationRecipe, *, base: str, packages: tuple[str, ...], apt_mirror: str | None
) -> str:
    """The base image with the distribution's packages: the only step that sees its archive."""
    words = (recipe.user, str(recipe.user_id), apt_mirror or "-", *packages)
    lines = (
        f"FROM {base}",
        "ENTRYPOINT []",
        _copy(SYSTEM_SCRIPT, f"{_BUILD}/"),
        _run("sh", f"{_BUILD}/{SYSTEM_SCRIPT}", *words),
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
) -> str:
    """Builder, project and run stage. ``index`` is the mirror as the jail has it.

    ``local``: folders of the source to install ("." is the project itself), () for none.
    """
    home, uv = venv_path(recipe), f"{_BUILD}/uv/bin/uv"
    python = f"{home}/bin/python3"
    install = (
        *(uv, "pip", "install", "--python", python, "--no-deps"),
        *("--build-constraints", f"{_BUILD}/{BUILD_CONSTRAINTS}", "--cache-dir"),
    )
    hashed = (f"{_BUILD}/cache", "--require-hashes", "--requirement", f"{_BUILD}/{REQUIREMENTS}")
    folders = [f"{recipe.folder}/{one}".removesuffix("/.") for one in members]
    sources = [w for one in folders for w in (("--editable", one) if recipe.editable else (one,))]
    added = (*install, f"{_BUILD}/cache-project", *sources) if sources else ()
    environment = {**_OFFLINE, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {"VIRTUAL_ENV": home, "HOME": "/tmp", **recipe.environment}
    owner = f"{recipe.user_id}:{recipe.user_id}"
    command = recipe.starts[0].argv if recipe.starts else ("python3",)
    lines = [
        f"FROM {build_base} AS builder",
        "ENV NO_COLOR=1 PYTHONHASHSEED=0"
        " UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_LINK_MODE=hardlink UV_COMPILE_BYTECODE=0"
        f" UV_DEFAULT_INDEX={index} PIP_INDEX_URL={index} PIP_DISABLE_PIP_VERSION_CHECK=1"
        " PIP_ROOT_USER_ACTION=ignore SOURCE_DATE_EPOCH=315532800 UV_HTTP_TIMEOUT=120"
        # debug information would hold the name of a folder that is another each time
        f' CFLAGS="{COMPILER_FLAGS}" CXXFLAGS="{COMPILER_FLAGS}"',
        _copy(UV_REQUIREMENTS, BUILD_CONSTRAINTS, INSTALLER, BYTECODE_COMPILER, f"{_BUILD}/"),
        _run("python3", "-m", "venv", f"{_BUILD}/uv"),
        _run(
            *(f"{_BUILD}/uv/bin/python3", "-m", "pip", "install", "--require-hashes"),
            *(
                "--only-binary",
                ":all:",
                "--no-cache-dir",
                "--requirement",
                f"{_BUILD}/{UV_REQUIREMENTS}",
            ),
        ),
        _run("python3", "-m", "venv", "--without-pip", home),
        _copy(REQUIREMENTS, f"{_BUILD}/"),
        _run("python3", f"{_BUILD}/{INSTALLER}", "install", home, *install, *hashed),
        "",
        "FROM builder AS project",
        _copy(f"{SOURCE_FOLDER}/", f"{recipe.folder}/"),
        _run("python3", f"{_BUILD}/{INSTALLER}", "project", home, "/project", *added),
        "",
        f"FROM {run_base}",
        _copy(f"{_BUILD}/uv/bin/uv", UV_PATH, stage="builder"),
        _copy(
            f"{EMPTY_FOLDER}/", f"{recipe.folder}/", owner=owner
        ),  # programs make files beside theirs
        _copy(home, home, stage="builder"),
        f"ENV PATH={home}/bin:{_SEARCH_PATH} " + _environment(environment),
        *(
            _copy(f"{EMPTY_FOLDER}/", f"{recipe.folder}/{one}/", owner=owner)
            for one in recipe.writable
        ),
        f"USER {owner}",
        f"WORKDIR {recipe.folder}",
        f"CMD {json.dumps(command)}",
        # below here is what a change of the source builds anew
        _copy(f"{SOURCE_FOLDER}/", f"{recipe.folder}/", owner=owner),
        _copy("/project/", f"{home}/", stage="project"),
        "",
    ]
    return "\n".join(lines)


def render_label_dockerfile(image: str, labels: Mapping[str, str]) -> str:
    """The same image with labels, by one step: no layer is added."""
    plain = {key: " ".join(value.split()) for key, value in labels.items()}
    return f"FROM {image}\nLABEL {_environment(plain)}\n"


def _environment(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={_quoted(value)}" for key, value in values.items())


def _quoted(value: str) -> str:
    """A value in which the builder finds no variable and no quote of its own."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")


def _run(*argv: str) -> str:
    return f"RUN {json.dumps(argv)}"


def _copy(*paths: str, stage: str | None = None, owner: str | None = None) -> str:
    options = (f"--from={stage} " if stage else "") + (f"--chown={owner} " if owner else "")
    return f"COPY {options}{json.dumps(paths)}"
