"""images/inside/bytecode.py, run as the build runs it."""

from __future__ import annotations

import marshal
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from types import CodeType

import pytest

import images

PROGRAM = Path(images.__file__).parent / "inside/bytecode.py"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "many/inner").mkdir(parents=True)
    (folder / "single.py").write_text("A = 1\n")
    (folder / "many/inner/plain.py").write_text("B = 2\n")
    return folder


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-s", "-S", PROGRAM, *arguments)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def bytecode(path: Path) -> Path:
    return Path(cache_from_source(str(path)))


def test_code_names_its_final_path_and_is_never_invalidated(site: Path) -> None:
    module = site / "many/inner/plain.py"
    module.chmod(0o640)
    done = run(site, "/final")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    content = bytecode(module).read_bytes()
    assert content[4:8] == b"\x01\0\0\0"  # PEP 552: a hash, and no need to compare it
    code = marshal.loads(content[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/final/many/inner/plain.py"
    assert bytecode(module).stat().st_mode & 0o777 == 0o640
    assert bytecode(site / "single.py").exists()


def test_compiles_every_part_of_a_large_package(site: Path) -> None:
    names = [f"m{number}.py" for number in range(450)]
    for name in names:
        (site / "many" / name).write_text("C = 3\n")
    assert run(site).returncode == 0
    assert [name for name in names if not bytecode(site / "many" / name).exists()] == []


def test_skips_links_and_files_that_are_not_python_3_silently(site: Path) -> None:
    (site / "many/old.py").write_text("print 'Python 2'\n")
    (site / "many/odd.py").write_text("X = 1 is 1\n")  # a SyntaxWarning
    (site / "many/link.py").symlink_to("inner/plain.py")
    (site / "linked").symlink_to("many")
    done = run(site)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    skipped = {path.name for path in site.rglob("*.py") if not bytecode(path).exists()}
    assert skipped == {"old.py", "link.py"}


def test_names_the_module_whose_bytecode_cannot_be_written(site: Path) -> None:
    (site / "many/inner/__pycache__").write_text("no folder\n")
    done = run(site)
    assert done.returncode == 1
    assert "NotADirectoryError" in done.stderr
    assert f"compiling {site}/many/inner/plain.py and the modules after it failed" in done.stderr


def test_compiles_a_project_that_is_installed_from_its_folder(tmp_path: Path) -> None:
    """RECORD lists no bytecode, so the copies of the project's files are compiled."""
    venv, target = tmp_path / "venv", tmp_path / "project"
    site = "lib/python3/site-packages"
    info = venv / site / "own-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "direct_url.json").write_text('{"url": "file:///app", "dir_info": {}}')
    (info / "RECORD").write_text("own.py,,\nown-1.0.dist-info/RECORD,,\n")
    (venv / site / "own.py").write_text("D = 4\n")
    (venv / "built-with").write_text("")
    argv = (sys.executable, PROGRAM.with_name("installer.py"), "project", venv, target)
    subprocess.run(argv, check=True, timeout=60)
    code = marshal.loads(bytecode(target / site / "own.py").read_bytes()[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == str(venv.resolve() / site / "own.py")
