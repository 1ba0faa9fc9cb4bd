"""Each tool's lock: found, read, or refused with the command that works."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from images.application_recipe import ApplicationRecipe
from images.project_lock import ProjectLock, read_project_lock
from images.source import open_source, read_source
from images.uv import find_uv, uv_environment
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from tests.images.projects import run_git

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
    assert refused.value.next_step.endswith(f"build-image {workspace} --package web")
    assert "apps/worker" in refused.value.why


def test_a_package_chooses_a_member_from_anywhere_in_its_workspace(workspace: Path) -> None:
    for folder in (workspace, workspace / "libs/core"):
        source = read_source(folder, Deadline.after(30), package="Web")
        assert (source.folder, source.project) == (workspace.resolve(), "apps/web")


def test_an_unknown_package_is_refused_with_those_that_there_are(workspace: Path) -> None:
    with pytest.raises(InputError, match="has no package 'shop'") as refused:
        read_source(workspace, Deadline.after(30), package="shop")
    assert refused.value.why == "its workspace has web, worker, core"
    (workspace / "other").mkdir()
    with pytest.raises(InputError, match="has no package 'web'") as refused:
        read_source(workspace / "other", Deadline.after(30), package="web")
    assert refused.value.next_step == "leave out --package"


def test_a_cloned_workspace_names_its_address(workspace: Path) -> None:
    run_git(workspace, "init", "--quiet")
    run_git(workspace, "add", ".")
    run_git(workspace, "commit", "--quiet", "-m", "all")
    location = f"file://{workspace}"
    with (
        pytest.raises(InputError) as refused,
        open_source(location, "", Deadline.after(60)),
    ):
        pass
    assert refused.value.next_step.endswith(f"build-image {location} --package web")
    with open_source(location, "", Deadline.after(60), package="web") as source:
        assert source.project == "apps/web"


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


def lock_of_two_indexes(
    *tags: str, marker: str = "", sdist: str = "", index: str = SECOND
) -> dict[str, str]:
    """Return the files of a project with idna from the usual index and tensor from another.

    ``tags`` are those of tensor's wheels; the last one has DIGEST, ``sdist`` too.
    """
    key = "url" if "://" in index else "path"
    prefix = f"{index}/" if "://" in index else ""
    wheels = ",".join(
        f'{{ {key} = "{prefix}tensor-2.4.0+cpu-{tag}.whl", '
        f'hash = "sha256:{(DIGEST if tag == tags[-1] else "b" * 64)}" }}'
        for tag in tags
    )
    source = f'sdist = {{ {key} = "{prefix}{sdist}", hash = "sha256:{DIGEST}" }}\n'
    entries = (
        f'[[package]]\nname = "idna"\nversion = "3"\nsource = {{ registry = "{INDEX}" }}\n'
        f'wheels = [{{ url = "{INDEX}/idna-3-py3-none-any.whl", hash = "sha256:{DIGEST}" }}]\n'
        '[[package]]\nname = "tensor"\nversion = "2.4.0+cpu"\n'
        f'source = {{ registry = "{index}" }}\n{source if sdist else ""}wheels = [{wheels}]\n'
    )
    condition = f', marker = "{marker}"' if marker else ""
    needs = f'{{ name = "idna" }}, {{ name = "tensor"{condition} }}'
    return {
        "pyproject_dot_toml": PYPROJECT.format("x")
        + 'dependencies = ["idna", "tensor"]\n[tool.uv.sources]\ntensor = { index = "cpu" }\n'
        f'[[tool.uv.index]]\nname = "cpu"\nurl = "{SECOND}"\nexplicit = true\n',
        "uv_dot_lock": 'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "x"\n'
        f'version = "1"\nsource = {{ virtual = "." }}\ndependencies = [{needs}]\n'
        f"[package.metadata]\nrequires-dist = [{needs}]\n" + entries,
    }


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (("cp312-cp312-win_amd64", "py3-none-any"), "py3-none-any"),
        (("cp311-cp311-manylinux_2_17_MACHINE", "cp312-cp312-linux_MACHINE"), "linux"),
        (("cp312-cp312-musllinux_1_2_MACHINE", "cp39-abi3-manylinux_2_28_MACHINE"), "abi3"),
        (("cp312-cp312-manylinux_2_17_other", "py2.py3-none-manylinux1_MACHINE"), "manylinux1"),
        (("py3-none-any", "cp312-cp312-manylinux2014_MACHINE"), "manylinux2014"),
    ],
)
def test_a_second_index_gives_the_locked_wheel_for_the_image(
    tmp_path: Path, tags: tuple[str, ...], chosen: str
) -> None:
    tags = tuple(tag.replace("MACHINE", platform.machine()) for tag in tags)
    write(tmp_path, **lock_of_two_indexes(*tags))
    idna, tensor = read(tmp_path).pins
    assert idna.origin == ""
    assert tensor.version == "2.4.0+cpu"
    assert chosen in tensor.origin
    assert tensor.origin.endswith(f"#sha256={DIGEST}")
    assert tensor.origin.startswith(f"{SECOND}/tensor-2.4.0+cpu-")
    _, given = read(tmp_path, tensor="given").pins
    assert given.origin == "", "--vendor says where it comes from"


def test_the_python_of_the_base_image_chooses_the_wheel(tmp_path: Path) -> None:
    tags = [f"cp3{minor}-cp3{minor}-manylinux_2_17_{platform.machine()}" for minor in (11, 12, 13)]
    write(tmp_path, **lock_of_two_indexes(*tags))
    recipe = replace(RECIPE, base="python:3.13-slim-trixie")
    assert "-cp313-" in read(tmp_path, recipe).pins[1].origin


def test_a_second_index_without_a_wheel_for_linux_gives_its_sdist(tmp_path: Path) -> None:
    files = lock_of_two_indexes("cp312-cp312-win_amd64", sdist="tensor-2.4.0.tar.gz")
    write(tmp_path, **files)
    assert read(tmp_path).pins[1].origin == f"{SECOND}/tensor-2.4.0.tar.gz#sha256={DIGEST}"


def test_a_second_index_without_a_usable_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, **lock_of_two_indexes("cp312-cp312-win_amd64"))
    with pytest.raises(InputError, match=r"tensor 2\.4\.0\+cpu has no file for Python") as refused:
        read(tmp_path)
    assert SECOND in refused.value.why
    assert "--vendor tensor=WHEEL" in refused.value.next_step


def test_a_package_for_another_system_is_left_in_its_index(tmp_path: Path) -> None:
    marker = "sys_platform == 'win32'"
    write(tmp_path, **lock_of_two_indexes("cp312-cp312-win_amd64", marker=marker))
    assert [pin.origin for pin in read(tmp_path).pins] == ["", ""]


def test_a_second_index_may_be_a_folder_of_the_project(tmp_path: Path) -> None:
    write(tmp_path, **lock_of_two_indexes("py3-none-any", index="wheels"))
    write(tmp_path, **{"wheels__tensor-2_dot_4_dot_0+cpu-py3-none-any_dot_whl": ""})
    wheel = tmp_path / "wheels/tensor-2.4.0+cpu-py3-none-any.whl"
    assert read(tmp_path).pins[1].origin == str(wheel)


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
    tmp_path: Path, files: dict[str, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(find_uv()).parent), prepend=os.pathsep)
    folder = tmp_path / "with space"
    write(folder, **files)
    with pytest.raises(InputError, match=r"has no lock|is not pinned") as refused:
        read(folder)
    place = shlex.quote(str(folder))
    quoted = re.sub(r"\{0\}(/\S+)", lambda match: shlex.quote(f"{folder}{match[1]}"), command)
    assert quoted.format(place) in refused.value.next_step


def test_names_uv_by_its_path_if_a_shell_would_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = find_uv()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("images.uv.find_uv", lambda: uv)
    write(tmp_path, requirements_dot_in="six")
    with pytest.raises(InputError) as refused:
        read(tmp_path)
    assert f": {uv} pip compile " in refused.value.next_step


def test_a_lock_is_for_the_chosen_base_image(tmp_path: Path) -> None:
    write(tmp_path, requirements_dot_in="six")
    (tmp_path / ".python-version").write_text("3.14\n")
    with pytest.raises(InputError) as refused:
        read(tmp_path, replace(RECIPE, base="python:3.13-slim-trixie"))
    assert "--python-version 3.13 " in refused.value.next_step


def test_a_lock_gets_what_the_dockerfile_installs_by_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        requirements_dot_txt="Six\nweb-lib[x]>=1\n",
        Dockerfile="FROM python:3.12 AS tools\nRUN pip install black\nFROM python:3.12\n"
        "RUN pip install -U pip six web_lib 'gunicorn>=20' pymysql -r requirements.txt ./own.whl\n"
        'CMD ["gunicorn"]\n',
    )
    with pytest.raises(InputError) as refused:
        read(tmp_path)
    command = refused.value.next_step
    assert "what the Dockerfile installs (gunicorn>=20, pymysql): " in command
    assert "printf '%s\\n' 'gunicorn>=20' pymysql | " in command
    assert f"{tmp_path}/requirements.txt - -o " in command


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
