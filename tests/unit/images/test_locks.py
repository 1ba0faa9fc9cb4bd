"""Each tool's lock: found, read, or refused with the command that works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from images.application_recipe import ApplicationRecipe
from images.project_lock import ProjectLock, read_project_lock
from images.source import read_source
from images.uv import find_uv, uv_environment
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

RECIPE = ApplicationRecipe(name="x")
DIGEST = "a" * 64
HASH = f"--hash=sha256:{DIGEST}"
PYPROJECT = '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.11"\n'
HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
INDEX = "http://127.0.0.1:9/simple"
SECOND = "http://127.0.0.1:8/cpu"


def write(folder: Path, **files: str) -> Path:
    """Write files; in their names, __ stands for / and _dot_ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def read(folder: Path, recipe: ApplicationRecipe = RECIPE, **options: str) -> ProjectLock:
    source = read_source(folder, Deadline.after(30))
    vendored = frozenset(options)
    return read_project_lock(
        source.folder, recipe, Deadline.after(60), member=source.project, vendored=vendored
    )


def lock(folder: Path) -> None:
    argv = (find_uv(), "lock", "--offline", "--quiet")
    subprocess.run(argv, cwd=folder, env=uv_environment(), check=True, timeout=60)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two applications and a library, locked at the root, which is no project."""
    member = PYPROJECT + HATCH
    write(
        tmp_path,
        pyproject_dot_toml='[tool.uv.workspace]\nmembers = ["apps/*", "libs/*"]\n'
        "[tool.uv.sources]\ncore = { workspace = true }\n",
        apps__web__pyproject_dot_toml=member.format("web").replace(
            "[build", 'dependencies = ["core"]\n[build'
        ),
        apps__web__Dockerfile='FROM python:3.12\nCMD ["web"]\n',
        apps__web__serve_dot_py="",
        apps__worker__pyproject_dot_toml=member.format("worker"),
        apps__worker__run_dot_py="",
        libs__core__pyproject_dot_toml=member.format("core"),
        libs__core__core_dot_py="",
    )
    lock(tmp_path)
    return tmp_path


def test_a_member_uses_the_lock_of_its_workspace(workspace: Path) -> None:
    source = read_source(workspace / "apps/web", Deadline.after(30))
    assert (source.folder, source.project) == (workspace.resolve(), "apps/web")
    assert "libs/core/core.py" in source.files
    assert "apps/web/serve.py" in source.files
    assert not [name for name in source.files if name.startswith("apps/worker/")]
    found = read(workspace / "apps/web")
    assert found.members == ("libs/core",)
    assert read(workspace / "apps/worker").members == ()


def test_a_root_without_a_project_names_its_members(workspace: Path) -> None:
    with pytest.raises(InputError, match="a workspace of 3 projects") as refused:
        read_source(workspace, Deadline.after(30))
    assert refused.value.next_step.endswith(f"build-image {workspace}/apps/web")
    assert "apps/worker" in refused.value.why


def test_dynamic_dependencies_are_not_compared(tmp_path: Path) -> None:
    project = PYPROJECT.format("x") + 'dynamic = ["dependencies", "optional-dependencies"]\n'
    text = (
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "x"\nversion = "1"\n'
        'source = { editable = "." }\ndependencies = [{ name = "idna" }]\n'
        "[package.metadata]\n"
        'requires-dist = [{ name = "idna" }, { name = "six", marker = "extra == \'more\'" }]\n'
        'provides-extras = ["more"]\n'
        f'[[package]]\nname = "idna"\nversion = "3"\nsource = {{ registry = "{INDEX}" }}\n'
        f'wheels = [{{ url = "{INDEX}/idna-3-py3-none-any.whl", hash = "sha256:{DIGEST}" }}]\n'
        f'[[package]]\nname = "six"\nversion = "1"\nsource = {{ registry = "{INDEX}" }}\n'
        f'wheels = [{{ url = "{INDEX}/six-1-py3-none-any.whl", hash = "sha256:{DIGEST}" }}]\n'
    )
    write(tmp_path, pyproject_dot_toml=project + HATCH, uv_dot_lock=text)
    assert [pin.name for pin in read(tmp_path).pins] == ["idna"]
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format("x") + HATCH)
    with pytest.raises(InputError, match="out of date"):
        read(tmp_path)


@pytest.mark.parametrize(
    "setting", ['required-version = "==0.1.0"', 'python-preference = "system"']
)
def test_settings_for_other_versions_of_uv_do_not_matter(tmp_path: Path, setting: str) -> None:
    write(tmp_path, pyproject_dot_toml=PYPROJECT.format("x"))
    lock(tmp_path)
    (tmp_path / "pyproject.toml").write_text(f"{PYPROJECT.format('x')}[tool.uv]\n{setting}\n")
    assert read(tmp_path).pins == ()


def lock_of_two_indexes() -> dict[str, str]:
    entries = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\n'
        f'source = {{ registry = "{index}" }}\nwheels = [\n'
        f'{{ url = "{index}/{name}-{version}-cp312-cp312-win_amd64.whl", '
        f'hash = "sha256:{"b" * 64}" }},\n'
        f'{{ url = "{index}/{name}-{version}-py3-none-any.whl", hash = "sha256:{DIGEST}" }}]\n'
        for name, version, index in (
            ("idna", "3", INDEX),
            ("tensor", "2.4.0+cpu", SECOND),
        )
    )
    needs = '{ name = "idna" }, { name = "tensor" }'
    return {
        "pyproject_dot_toml": PYPROJECT.format("x")
        + 'dependencies = ["idna", "tensor"]\n[tool.uv.sources]\ntensor = { index = "cpu" }\n'
        f'[[tool.uv.index]]\nname = "cpu"\nurl = "{SECOND}"\nexplicit = true\n',
        "uv_dot_lock": 'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "x"\n'
        f'version = "1"\nsource = {{ virtual = "." }}\ndependencies = [{needs}]\n'
        f"[package.metadata]\nrequires-dist = [{needs}]\n" + entries,
    }


def test_a_second_index_is_named_with_the_option_that_helps(tmp_path: Path) -> None:
    write(tmp_path, **lock_of_two_indexes())
    with pytest.raises(InputError, match="a second index: tensor from") as refused:
        read(tmp_path)
    assert SECOND in refused.value.what
    option = f"--vendor 'tensor={SECOND}/tensor-2.4.0+cpu-py3-none-any.whl#sha256={DIGEST}'"
    assert option in refused.value.next_step
    assert [pin.version for pin in read(tmp_path, tensor="given").pins] == ["3", "2.4.0+cpu"]


def test_a_git_dependency_has_its_locked_version(tmp_path: Path) -> None:
    commit = "c" * 40
    needs = '{ name = "coin" }'
    write(
        tmp_path,
        pyproject_dot_toml=PYPROJECT.format("x")
        + 'dependencies = ["coin"]\n[tool.uv.sources]\ncoin = { git = "https://host.test/coin" }\n',
        uv_dot_lock='version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "x"\n'
        f'version = "1"\nsource = {{ virtual = "." }}\ndependencies = [{needs}]\n'
        f"[package.metadata]\nrequires-dist = [{needs[:-2]}, git = "
        '"https://host.test/coin" }]\n[[package]]\nname = "coin"\nversion = "1.4.0"\n'
        f'source = {{ git = "https://host.test/coin#{commit}" }}\n',
    )
    (pin,) = read(tmp_path).pins
    assert (pin.version, pin.origin) == ("1.4.0", f"git+https://host.test/coin@{commit}")


PDM_PYLOCK = """\
lock-version = "1.0"
created-by = "pdm"
extras = ["fast"]
dependency-groups = ["default", "lint"]
default-groups = ["default"]
""" + "".join(
    f'[[packages]]\nname = "{name}"\nversion = "1"\nmarker = "{marker}"\n'
    f'wheels = [{{ name = "{name}-1-py3-none-any.whl", '
    f'url = "{INDEX}/{name}-1-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}]\n'
    for name, marker in (
        ("idna", "'default' in dependency_groups"),
        ("six", "'lint' in dependency_groups"),
        ("quick", "'fast' in extras"),
    )
)


def test_a_pylock_of_pdm_installs_its_default_groups(tmp_path: Path) -> None:
    project = PYPROJECT.format("x") + "[project.optional-dependencies]\nfast = []\n"
    write(tmp_path, pyproject_dot_toml=project, pylock_dot_toml=PDM_PYLOCK)

    def names(**choice: tuple[str, ...]) -> list[tuple[str, str]]:
        chosen = replace(RECIPE, extras=choice.get("extras", ()), groups=choice.get("groups", ()))
        return [(pin.name, pin.marker) for pin in read(tmp_path, chosen).pins]

    assert names() == [("idna", "")]
    assert names(groups=("lint",)) == [("idna", ""), ("six", "")]
    assert names(extras=("fast",)) == [("idna", ""), ("quick", "")]
    with pytest.raises(InputError, match=r"pylock\.toml has no group nonsense"):
        names(groups=("nonsense",))


def test_reads_the_locks_of_other_tools(tmp_path: Path) -> None:
    files = f'files = [{{ file = "six.whl", hash = "sha256:{DIGEST}" }}]\n'
    package = '[[package]]\nname = "six"\nversion = "1"\ngroups = ["GROUP"]\n' + files
    for name, text in {
        "poetry.lock": package.replace("GROUP", "main") + '[metadata]\nlock-version = "2.1"\n',
        "pdm.lock": package.replace("GROUP", "default") + '[metadata]\nlock_version = "4.5.0"\n',
        "Pipfile.lock": json.dumps(
            {
                "_meta": {},
                "default": {"six": {"hashes": [f"sha256:{DIGEST}"], "version": "==1"}},
            }
        ),
    }.items():
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text(text)
        found = read(folder)
        assert found.file == name
        assert [pin.requirement for pin in found.pins] == [f"six==1 {HASH}"]


def test_follows_included_requirements_within_the_project(tmp_path: Path) -> None:
    write(
        tmp_path,
        requirements__prod_dot_txt="-r base.txt\n-c limits.txt\n--require-hashes\n"
        f"idna==3 {HASH}\n",
        requirements__base_dot_txt=f"six==1 {HASH}\n",
        requirements__limits_dot_txt="six<2\n",
    )
    found = read(tmp_path)
    assert (found.file, [pin.name for pin in found.pins]) == ("prod.txt", ["six", "idna"])
    outside = tmp_path.parent / "outside.txt"
    outside.write_text(f"six==1 {HASH}\n")
    (tmp_path / "requirements/base.txt").write_text("-r ../../outside.txt\n")
    with pytest.raises(InputError, match="cannot be used") as refused:
        read(tmp_path)
    assert "outside of the project" in refused.value.why


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_reads_requirements_in_any_encoding_with_a_mark(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    (tmp_path / "requirements.txt").write_text(f"{mark}six==1 {HASH}\r\n", encoding=encoding)
    assert [pin.name for pin in read(tmp_path).pins] == ["six"]


def test_uses_the_named_lock(tmp_path: Path) -> None:
    write(tmp_path, requirements_dot_txt="", deps__own_dot_txt=f"six==1 {HASH}\n")
    assert [pin.name for pin in read(tmp_path, replace(RECIPE, lock="deps/own.txt")).pins] == [
        "six"
    ]
    with pytest.raises(InputError, match=r"has no deps/gone\.txt"):
        read(tmp_path, replace(RECIPE, lock="deps/gone.txt"))


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"pyproject_dot_toml": PYPROJECT.format("x")}, "uv lock --directory {}"),
        ({"pyproject_dot_toml": "[tool.poetry]\n"}, "poetry lock --directory {}"),
        ({"pyproject_dot_toml": "[tool.pdm]\n"}, "pdm lock --project {}"),
        ({"Pipfile": ""}, "cd {} && pipenv lock"),
        (
            {"requirements_dot_in": "six"},
            "uv pip compile --universal --python-version 3.12 {0}/requirements.in "
            "-o {0}/pylock.toml",
        ),
        (
            {"requirements__base_dot_txt": "six"},
            "uv pip compile --universal --python-version 3.12 {0}/requirements/base.txt "
            "-o {0}/pylock.toml",
        ),
        (
            {"setup_dot_py": ""},
            "uv pip compile --universal --python-version 3.12 {0}/setup.py -o {0}/pylock.toml",
        ),
    ],
)
def test_names_the_command_that_makes_a_lock(
    tmp_path: Path, files: dict[str, str], command: str
) -> None:
    folder = tmp_path / "with space"
    write(folder, **files)
    with pytest.raises(InputError, match=r"has no lock|is not pinned") as refused:
        read(folder)
    place = shlex.quote(str(folder))
    quoted = re.sub(r"\{0\}(/\S+)", lambda match: shlex.quote(f"{folder}{match[1]}"), command)
    assert quoted.format(place) in refused.value.next_step


def test_requirements_without_hashes_name_a_command_that_leads_to_a_build(tmp_path: Path) -> None:
    write(tmp_path, requirements_dot_txt="six==1.17.0\n")
    with pytest.raises(InputError, match=r"six 1\.17\.0 has no hash") as refused:
        read(tmp_path)
    command = refused.value.next_step.partition("; or")[0].partition(": ")[2]
    assert shlex.split(command)[-2:] == ["-o", str(tmp_path / "pylock.toml")]


def test_an_empty_lock_of_a_project_with_dependencies_is_an_error(tmp_path: Path) -> None:
    poetry = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.11"\nsix = "*"\n'
    write(tmp_path, pyproject_dot_toml=poetry, uv_dot_lock='version = 1\nrequires-python = ">=3"\n')
    with pytest.raises(InputError, match=r"has no packages|cannot export"):
        read(tmp_path)
    (tmp_path / "uv.lock").unlink()
    (tmp_path / "requirements.txt").write_text("")
    with pytest.raises(InputError, match="has no packages") as refused:
        read(tmp_path)
    assert "poetry lock" in refused.value.next_step


@pytest.mark.parametrize("option", ["--extra-index-url http://h/", "-f http://h/", "-i http://h/"])
def test_an_index_in_requirements_is_refused_by_name(tmp_path: Path, option: str) -> None:
    write(tmp_path, requirements_dot_txt=f"{option}\nsix==1 {HASH}\n")
    with pytest.raises(InputError, match="cannot be used") as refused:
        read(tmp_path)
    assert option.split()[0] in refused.value.what
