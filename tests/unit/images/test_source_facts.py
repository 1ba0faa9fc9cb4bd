"""What the proof knows of a project's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.application_recipe import ApplicationRecipe, load_application_recipe
from images.recipes import RECIPES
from images.source import read_source
from images.source_facts import read_source_facts
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from tests.images.projects import write_files

PYPROJECT = """\
[project]
name = "x"
version = "1"
dependencies = ["click", "PyYAML>=6"]
[project.optional-dependencies]
fast = ["MarkupSafe", "pyyaml"]
web = ["uvicorn[standard]>=0.3 ; python_version > '3.8'"]
[dependency-groups]
dev = ["pytest", {include-group = "docs"}]
docs = ["sphinx"]
[tool.poetry.group.lint.dependencies]
ruff = "^0.4"
"""
RECIPE = ApplicationRecipe(
    name="x",
    extras=("web",),
    proof_templates={"a.yaml": "a.yaml.template", "b.yaml": "b.yaml.template", "c": "c.dist"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "pyproject.toml": PYPROJECT,
        ".dockerignore": "*.template\nb.yaml\n",
        "a.yaml.template": "a: 1\n",
        "b.yaml.template": "b: 1\n",
        "b.yaml": "secret\n",
        "conf/app.example.toml": "",
        "node_modules/x.json.example": "",
    }
    return write_files(tmp_path, files)


def test_knows_dependencies_options_and_templates(folder: Path) -> None:
    facts = read_source_facts(read_source(folder, Deadline.after(10)), RECIPE, (".",))
    assert facts.dependencies == 2
    assert facts.optional == {
        "markupsafe": "--extra fast",
        "pytest": "--group dev",
        "sphinx": "--group docs",
        "ruff": "--group lint",
    }
    assert facts.templates == {
        "a.yaml": "a.yaml.template",
        "conf/app.toml": "conf/app.example.toml",
    }
    assert facts.template_files == {"a.yaml": "a: 1\n", "b.yaml": "b: 1\n"}, "what no layer has"


def test_a_file_of_the_image_needs_no_template(folder: Path) -> None:
    (folder / "a.yaml").write_text("mine\n")
    facts = read_source_facts(read_source(folder, Deadline.after(10)), RECIPE, (".",))
    assert "a.yaml" not in facts.template_files


def test_metadata_of_every_member_counts(folder: Path) -> None:
    def read() -> str:
        source = read_source(folder, Deadline.after(10))
        return read_source_facts(source, RECIPE, (".", "lib")).metadata_sha256

    before = read()
    assert read() == before
    write_files(folder, {"lib/setup.cfg": "[metadata]\n"})
    assert read() != before


def test_refuses_a_large_template(folder: Path) -> None:
    (folder / "c.dist").write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(InputError, match=r"c\.dist is too large"):
        read_source_facts(read_source(folder, Deadline.after(10)), RECIPE, (".",))


def test_chronicle_has_templates_below_and_above_its_folder(tmp_path: Path) -> None:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    files = {"config.yml": "new\n", "backends/advanced/memory_config.yaml.template": "old\n"}
    write_files(tmp_path, {**files, "backends/advanced/pyproject.toml": PYPROJECT})
    source = read_source(tmp_path / "backends/advanced", Deadline.after(10))
    facts = read_source_facts(source, recipe, (".",))
    assert facts.template_files == {"memory_config.yaml": "old\n", "config.yml": "new\n"}


@pytest.mark.parametrize("template", ["/etc/passwd", "../../../x", "a/../../b", "../x"])
def test_a_template_is_in_the_source(tmp_path: Path, template: str) -> None:
    path = tmp_path / "recipe.toml"
    text = f'name = "x"\nsubdirectory = "{{}}"\n[proof_templates]\na = "{template}"\n'
    path.write_text(text.format("a/b"))
    if template == "../x":
        path.write_text(text.format(""))
    with pytest.raises(InputError, match="cannot use"):
        load_application_recipe(path)
    path.write_text(text.format("a/b").replace(template, "../../x"))
    assert load_application_recipe(path).proof_templates == {"a": "../../x"}
