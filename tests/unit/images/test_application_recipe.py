"""Recipes of applications: reading, refusing, deriving, writing; and the Dockerfiles from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.application_dockerfile import render_application_dockerfile, render_base_dockerfile
from images.application_recipe import (
    ApplicationRecipe,
    load_application_recipe,
    parse_application_recipe,
)
from images.derived_recipe import derive_recipe, find_packages, is_installable, render_recipe
from images.recipes import RECIPES
from images.source import read_source
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

PATH = Path("recipe.toml")


def test_reads_the_recipe_of_chronicle() -> None:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    assert recipe.starts[0].argv[:4] == ("uv", "run", "--extra", "deepgram")
    assert "ffmpeg" in recipe.run_packages
    assert "build-essential" in recipe.build_packages
    assert "build-essential" not in recipe.run_packages


def test_a_rendered_recipe_reads_as_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    (tmp_path / "again.toml").write_text(render_recipe(recipe))
    assert load_application_recipe(tmp_path / "again.toml") == recipe


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({}, "name is missing"),
        ({"name": "x", "nonsense": 1}, "unknown key nonsense"),
        ({"name": 1}, "name is int '1', not str"),
        ({"name": "x", "user_id": True}, "user_id is bool 'True', not int"),
        ({"name": "x", "user_id": 0}, "user_id: 0 is not allowed"),
        ({"name": "x", "extras": "web"}, "extras is str 'web', not tuple"),
        ({"name": "x", "starts": "web"}, "starts is str 'web', not tuple"),
        (
            {"name": "x", "starts": [{"name": "a"}]},
            "starts[0] does not match StartCommand: argv is missing",
        ),
        ({"name": "x", "starts": [{"name": "a", "argv": ["x"], "health": "/h"}]}, "port"),
        ({"name": "x", "base": "debian\nRUN evil"}, "base"),
        ({"name": "X Y"}, "name"),
        ({"name": "x", "run_packages": ["a; rm -rf /"]}, "packages"),
        ({"name": "x", "run_packages": ["-oDir::Etc=/x"]}, "packages"),
        ({"name": "x", "folder": "app"}, "folder"),
        ({"name": "x", "folder": "/app/$(id)"}, "folder"),
        ({"name": "x", "writable": ["../etc"]}, "writable"),
        ({"name": "x", "subdirectory": "../.."}, "subdirectory"),
        ({"name": "x", "environment": {"A B": "1"}}, "environment"),
        ({"name": "x", "environment": {"A": "1\nRUN evil"}}, "environment"),
        ({"name": "x", "expected_hosts": ["a b"]}, "expected_hosts"),
    ],
)
def test_refuses_invalid_recipes(document: dict[str, object], part: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_application_recipe(document, PATH)
    assert part in refused.value.why
    assert "docs/recipes.md" in refused.value.next_step


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = st.sampled_from([*ApplicationRecipe.__dataclass_fields__, "other"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_reads_or_refuses_any_recipe(document: dict[str, object]) -> None:
    try:
        recipe = parse_application_recipe({"name": "x", **document}, PATH)
    except InputError:
        return
    text = render_application_dockerfile(
        recipe, build_base="a", run_base="b", index="http://127.0.0.1/", members=(".",)
    )
    known = ("FROM ", "ENV ", "COPY ", "RUN [", "USER ", "WORKDIR ", "CMD [")
    assert all(line.startswith(known) for line in text.splitlines() if line)


def test_uses_exec_form_and_keeps_compilers_out_of_the_run_stage() -> None:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    text = render_application_dockerfile(
        recipe,
        build_base="sha256:b",
        run_base="sha256:r",
        index="http://127.0.0.1/",
        members=(".",),
    )
    for line in text.splitlines():
        if line.startswith("RUN "):
            assert all(isinstance(word, str) for word in json.loads(line[4:]))
    assert "FROM sha256:b AS builder" in text
    last = text.rpartition("FROM ")[2]
    assert last.startswith("sha256:r")
    assert "RUN" not in last
    assert "UV_NO_SYNC" in last
    assert "127.0.0.1" not in last, "the mirror's address is in no image"
    installs = [line for line in text.splitlines() if line.startswith("RUN ") and "install" in line]
    from_index = [line for line in installs if '"--requirement"' in line]
    assert len(from_index) == 2, "uv itself, and the lock"
    assert all('"--require-hashes"' in line for line in from_index)
    plain = render_application_dockerfile(
        replace(recipe, editable=False), build_base="b", run_base="r", index="", members=(".",)
    )
    assert "--editable" not in plain


def test_escapes_values_for_the_builder() -> None:
    recipe = parse_application_recipe({"name": "x", "environment": {"A": 'a "b" $PATH'}}, PATH)
    text = render_application_dockerfile(recipe, build_base="a", run_base="b", index="", members=())
    assert r'A="a \"b\" \$PATH"' in text


def test_passes_system_packages_as_arguments() -> None:
    recipe = parse_application_recipe({"name": "x"}, PATH)
    text = render_base_dockerfile(recipe, base="debian", packages=("curl",), apt_mirror=None)
    assert 'RUN ["sh", "/build/application_system.sh", "app", "10001", "-", "curl"]' in text


def derive(folder: Path) -> ApplicationRecipe:
    return derive_recipe(read_source(folder, Deadline.after(30)))


def test_derives_a_recipe_from_a_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "My_App"\ndescription = "Does it."\n[build-system]\nrequires = []\n'
    )
    (tmp_path / "Dockerfile").write_text(
        "FROM python\nRUN apt-get update && apt-get install -y --no-install-recommends \\\n"
        "    build-essential ffmpeg && rm -rf /var/lib/apt/lists/*\n"
        "ENV MODE=fast UV_X=1\nEXPOSE 8000/tcp\n"
        'CMD ["uv", "run", "--extra", "web", "python3", "main.py"]\n'
    )
    recipe = derive(tmp_path)
    assert (recipe.name, recipe.title) == ("my-app", "Does it.")
    assert recipe.build_packages == ("build-essential",)
    assert recipe.run_packages == ("ffmpeg",)
    assert recipe.environment == {"MODE": "fast"}
    assert recipe.extras == ("web",)
    assert (recipe.starts[0].argv[-1], recipe.starts[0].port) == ("main.py", 8000)
    lines = ("# of old", "web: gunicorn app:app", "worker: python -m w 'a b'")
    (tmp_path / "Procfile").write_text("\n".join(lines))
    assert [start.argv[-1] for start in derive(tmp_path).starts] == ["main.py"], "a CMD is first"
    (tmp_path / "Dockerfile").unlink()
    assert [start.argv for start in derive(tmp_path).starts] == [
        ("gunicorn", "app:app"),
        ("python", "-m", "w", "a b"),
    ]
    assert is_installable(tmp_path)


@pytest.mark.parametrize(
    ("table", "is_installed"),
    [
        ("[tool.poetry]\nname = 'x'\npackage-mode = false\n", False),
        ("[tool.pdm]\ndistribution = false\n", False),
        ("[tool.uv]\npackage = false\n", False),
        ("[tool.uv]\npackage = true\n", True),
        ("[tool.poetry]\nname = 'my-shop'\n", True),
        ("[tool.poetry]\nname = 'other'\n", False),
        ("[tool.poetry]\nname = 'other'\npackages = [{ include = 'x' }]\n", True),
        ("", True),
    ],
)
def test_installs_a_project_only_if_its_tool_would(
    tmp_path: Path, table: str, is_installed: bool
) -> None:
    build = '[build-system]\nrequires = ["x"]\nbuild-backend = "poetry.core.masonry.api"\n'
    (tmp_path / "src/my_shop").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(table + build)
    assert is_installable(tmp_path) is is_installed


def test_finds_packages_in_both_layouts(tmp_path: Path) -> None:
    for name in ("src/one/__init__.py", "lib/two/__init__.py", "lib/tests/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    assert find_packages(tmp_path, ("lib",)) == ("one", "two")
