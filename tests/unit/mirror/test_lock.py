"""mirror.lock reads what uv, pip-tools and PEP 751 tools write, and rejects everything else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.core.errors import InputError, MirrorError
from mirror.lock import LockFile, PinnedDistribution, merge_locks, parse_requirements, read_lock

ONE, TWO = "a" * 64, "b" * 64  # SHA-256 digests
HASHES = (f"sha256:{ONE}", f"sha256:{TWO}")

UV_LOCK = f"""
version = 1
requires-python = ">=3.12"

[[package]]
name = "app"
version = "0.1"
source = {{ editable = "." }}

[[package]]
name = "Mem0_AI"
version = "1.0"
source = {{ git = "https://git.example/x?rev=main#abc" }}

[[package]]
name = "model"
version = "3.8.0"
source = {{ url = "https://files.example/model-3.8.0-py3-none-any.whl" }}
wheels = [{{ url = "https://files.example/model-3.8.0-py3-none-any.whl", hash = "sha256:{ONE}" }}]

[[package]]
name = "numpy"
version = "2.1.0"
source = {{ registry = "https://index.example/simple" }}
sdist = {{ url = "https://files.example/a/numpy-2.1.0.tar.gz", hash = "sha256:{ONE}", size = 7 }}
wheels = [
    {{ url = "https://files.example/b/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
      hash = "sha256:{TWO}", size = 9 }},
]
""".replace(",\n      hash", ", hash")

PYLOCK = f"""
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"
[[packages]]
name = "numpy"
version = "2.1.0"
marker = "sys_platform == 'linux'"
sdist = {{ url = "https://files.example/numpy-2.1.0.tar.gz", hashes = {{ sha256 = "{ONE}" }} }}
[[packages.wheels]]
url = "https://files.example/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
size = 9
hashes = {{ sha256 = "{TWO}" }}
[[packages]]
name = "mem0ai"
vcs = {{ type = "git", url = "https://git.example/x", commit-id = "abc", subdirectory = "lib" }}
[[packages]]
name = "near"
archive = {{ path = "near-1.0.tar.gz", hashes = {{ sha256 = "{ONE}" }} }}
[[packages]]
name = "member"
directory = {{ path = "packages/member", editable = true }}
"""


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_reads_uv_lock(tmp_path: Path) -> None:
    lock = read_lock(write(tmp_path, "uv.lock", UV_LOCK))
    assert lock.requires_python == ">=3.12"
    assert [(pin.name, pin.source, pin.origin) for pin in lock.pins] == [
        ("app", "path", "."),
        ("mem0-ai", "git", "git+https://git.example/x?rev=main#abc"),
        ("model", "url", "https://files.example/model-3.8.0-py3-none-any.whl"),
        ("numpy", "index", ""),
    ]
    numpy = lock.pins[3]
    assert (numpy.specifier, numpy.version) == ("==2.1.0", "2.1.0")
    assert numpy.hashes == HASHES
    assert numpy.sha256_digests == {ONE, TWO}


def test_reads_the_lock_that_uv_itself_writes(tmp_path: Path) -> None:
    """Lock a project that depends on a local wheel, without any index."""
    from tests.wheels import make_wheel

    (tmp_path / "links").mkdir()
    make_wheel(tmp_path / "links", "house-lib", "1.0", "x = 1\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["house-lib"]\n[tool.uv]\nno-index = true\nfind-links = ["links"]\n'
    )
    subprocess.run(
        ["uv", "lock", "-q", "--offline", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        check=True,
        timeout=60,
    )
    app, library = read_lock(str(tmp_path / "uv.lock")).pins
    assert (app.name, app.source) == ("app", "path")
    assert (library.name, library.source, library.version) == ("house-lib", "index", "1.0")


def test_reads_pylock(tmp_path: Path) -> None:
    numpy, mem0, near, member = read_lock(write(tmp_path, "pylock.toml", PYLOCK)).pins
    assert numpy.specifier == "==2.1.0"
    assert numpy.hashes == HASHES
    assert numpy.marker == 'sys_platform == "linux"'
    assert mem0.origin == "git+https://git.example/x@abc#subdirectory=lib"
    assert (near.source, near.origin, near.hashes) == ("path", "near-1.0.tar.gz", HASHES[:1])
    assert (member.source, member.origin) == ("path", "packages/member")


def test_reads_requirements_with_hashes() -> None:
    lock = parse_requirements(
        "# made by uv\n--index-url https://index.example/simple\n"
        f"Zope.Interface==7.0 ; python_version < '3.13' \\\n    --hash=sha256:{ONE} \\\n"
        f"    --hash=sha256:{TWO.upper()}\n    # via app\n"
        "-e .\nmodel @ https://files.example/model-1.0-py3-none-any.whl\n"
        "lib @ git+https://git.example/x@abc  # pinned\r\n"
        "plain>=2,<3\n"
    )
    zope, project, model, lib, plain = lock.pins
    assert (zope.name, zope.specifier) == ("zope-interface", "==7.0")
    assert zope.hashes == HASHES
    assert zope.marker == 'python_version < "3.13"'
    assert zope.requirement == (
        f'zope-interface==7.0 ; python_version < "3.13" --hash=sha256:{ONE} --hash=sha256:{TWO}'
    )
    assert (project.source, model.source, lib.source) == ("path", "url", "git")
    assert (project.origin, lib.origin) == (".", "git+https://git.example/x@abc")
    assert (plain.specifier, plain.version, plain.hashes) == ("<3,>=2", "", ())
    assert lock.skipped == ("--index-url https://index.example/simple",)


def test_reads_local_requirements() -> None:
    lock = parse_requirements(
        f"./wheels/a.whl ; python_version < '3.13' --hash=sha256:{ONE}\n"
        "--editable ../b\nfile:///c.whl\n"
    )
    wheel, editable, url = lock.pins
    assert (wheel.name, wheel.origin, wheel.hashes) == ("", "./wheels/a.whl", HASHES[:1])
    assert wheel.marker == "python_version < '3.13'"
    assert (editable.origin, url.origin) == ("../b", "file:///c.whl")
    assert {pin.source for pin in lock.pins} == {"path"}


def test_reports_the_options_that_it_ignores() -> None:
    (pin,) = (
        lock := parse_requirements(f"a==1 --hash=md5:0 --no-binary a --hash=sha256:{ONE}")
    ).pins
    assert pin.hashes == HASHES[:1]
    assert lock.skipped == ("--hash=md5:0 --no-binary a",)


@pytest.mark.parametrize("specifier", ["==1.*", ">=1", "==1,!=2", ""])
def test_only_an_exact_specifier_has_a_version(specifier: str) -> None:
    assert PinnedDistribution(name="a", specifier=specifier).version == ""
    assert PinnedDistribution(name="a", specifier="===1.0+cpu").version == "1.0+cpu"


def test_reads_the_lock_of_chronicle(chronicle_lock: Path) -> None:
    lock = read_lock(str(chronicle_lock))
    assert len(lock.pins) == 160
    assert all(pin.hashes and pin.specifier.startswith("==") for pin in lock.pins)


def test_reads_a_single_requirement() -> None:
    assert read_lock("numpy>=2").pins == (PinnedDistribution(name="numpy", specifier=">=2"),)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("uv.lock", b"\x00\xff\xfe", "not a UTF-8 text file"),
        ("uv.lock", b"package = [", "not TOML"),
        ("uv.lock", b"[[package]]\nversion = '1'\n", "uv does not write packages this way"),
        ("uv.lock", b"package = [1]\n", "uv does not write packages this way"),
        ("some.toml", b"a = 1\n", "neither a uv.lock nor"),
        ("pylock.toml", b"lock-version = '9.0'\ncreated-by = 'x'\npackages = []\n", "version"),
        ("r.txt", b"numpy==2.1 ===\n", "is not a requirement"),
        ("r.txt", b"$(reboot)\n", "is not a requirement"),
    ],
)
def test_rejects_other_content_in_one_line(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_lock(str(tmp_path / name))
    assert why in refusal.value.why
    assert "\n" not in str(refusal.value)


def test_rejects_missing_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_lock(str(tmp_path / "uv.lock"))
    huge = tmp_path / "huge.txt"
    with huge.open("wb") as file:
        file.truncate(200 * 1024**2)

    def read_bytes(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(Path, "open", read_bytes)
    with pytest.raises(InputError, match="larger than"):
        read_lock(str(huge))


def test_merges_locks() -> None:
    first = LockFile(
        pins=(PinnedDistribution(name="a"), PinnedDistribution(name="b")), requires_python=">=3.11"
    )
    second = LockFile(pins=(PinnedDistribution(name="b"),), requires_python="<3.14")
    merged = merge_locks([first, second])
    assert [pin.name for pin in merged.pins] == ["a", "b"]
    assert merged.requires_python == ">=3.11,<3.14"


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        parse_requirements(text)
    except MirrorError as refusal:
        assert refusal.what


KEYS = st.sampled_from(
    [
        "name",
        "version",
        "marker",
        "wheels",
        "sdist",
        "vcs",
        "archive",
        "directory",
        "path",
        "url",
        "hashes",
        "sha256",
        "commit-id",
        "subdirectory",
        "type",
        "source",
        "registry",
        "git",
        "hash",
    ]
)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_any_package_is_parsed_or_rejected(package: dict[str, object], is_pylock: bool) -> None:
    from mirror.lock import _parse_pylock, _parse_uv_lock

    try:
        if is_pylock:
            document = {"lock-version": "1.0", "created-by": "t", "packages": [package]}
            _parse_pylock(document, "pylock.toml")
        else:
            _parse_uv_lock({"package": [package]}, "uv.lock")
    except InputError as refusal:
        assert refusal.why


def test_sha256_digests_leave_out_other_algorithms() -> None:
    pin = PinnedDistribution(name="x", hashes=("sha512:" + "a" * 128, "sha256:" + "b" * 64))
    assert pin.sha256_digests == {"b" * 64}


def write_encoded(path: Path, content: str, encoding: str = "utf-8") -> str:
    path.write_text(content, encoding=encoding)
    return str(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_reads_files_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    """As PowerShell writes them."""
    source = write_encoded(tmp_path / "r.txt", "idna==3.10\r\nsix==1.17.0\r\n", encoding)
    assert [pin.name for pin in read_lock(source).pins] == ["idna", "six"]


def test_names_the_encoding_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"\xff\xfeidn")
    with pytest.raises(InputError, match="UTF-16"):
        read_lock(str(tmp_path / "r.txt"))


def test_follows_included_files_and_constraints(tmp_path: Path) -> None:
    (tmp_path / "deps").mkdir()
    write_encoded(tmp_path / "deps/base.txt", "-r more.txt\nidna\n")
    write_encoded(tmp_path / "deps/more.txt", "certifi>=2020\n")
    write_encoded(tmp_path / "deps/limits.txt", "idna<3.5\ncertifi==2024.2.2\nunused==1\n")
    source = write_encoded(
        tmp_path / "r.txt", "-rdeps/base.txt\n--constraint=deps/limits.txt\nsix==1.17.0\n"
    )
    lock = read_lock(source, follow_includes=True)
    assert [(pin.name, pin.specifier) for pin in lock.pins] == [
        ("certifi", "==2024.2.2"),
        ("idna", "<3.5"),
        ("six", "==1.17.0"),
    ]
    assert len(read_lock(source).pins) == 1, "without follow_includes only options are listed"


@pytest.mark.parametrize(
    ("content", "part"), [("-r r.txt\n", "includes itself"), ("-r gone.txt\n", "gone.txt")]
)
def test_refuses_wrong_includes(tmp_path: Path, content: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read_lock(write_encoded(tmp_path / "r.txt", content), follow_includes=True)


@pytest.mark.parametrize(
    ("filename", "content", "tool"),
    [
        ("poetry.lock", '[[package]]\nname = "six"\nversion = "1"\n', "poetry export"),
        ("other.lock", "# This file is automatically @generated by Poetry 2.1\n", "poetry export"),
        ("pdm.lock", '[[package]]\nname = "six"\nversion = "1"\n', "pdm export"),
        ("Pipfile.lock", '{"_meta": {"pipfile-spec": 6}}', "pipenv requirements"),
        ("saved.json", '{"_meta": {"pipfile-spec": 6}}', "pipenv requirements"),
    ],
)
def test_names_locks_of_other_tools(tmp_path: Path, filename: str, content: str, tool: str) -> None:
    with pytest.raises(InputError) as error:
        read_lock(write_encoded(tmp_path / filename, content))
    assert tool in error.value.next_step


def test_reads_lines_that_are_only_a_url() -> None:
    lock = parse_requirements(
        "https://files.example/acme_zones-0.2-py3-none-any.whl#sha256=00\n"
        "https://files.example/Acme-Maps-0.2.tar.gz ; python_version > '3'\n"
    )
    assert [(pin.name, pin.source, pin.marker) for pin in lock.pins] == [
        ("acme-zones", "url", ""),
        ("acme-maps", "url", "python_version > '3'"),
    ]
    with pytest.raises(InputError, match="does not end with the name"):
        parse_requirements("https://files.example/\n")
