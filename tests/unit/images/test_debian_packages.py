"""Debian packages for what a failed build or start names."""

from __future__ import annotations

import pytest

from images.debian_packages import (
    COMPILERS,
    RUNTIME_LIBRARIES,
    advise_on_packages,
    find_build_packages,
    find_library_package,
    is_third_party,
)


@pytest.mark.parametrize(
    ("log", "packages"),
    [
        ("error: command 'gcc' failed: No such file or directory", ("build-essential",)),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file", ("build-essential",)),
        ("Error: pg_config executable not found.", ("libpq-dev",)),
        ("x.c:3:10: fatal error: libpq-fe.h: No such file or directory", ("libpq-dev",)),
        ("fatal error: ffi.h: No such file or directory\ncommand 'gcc' failed: No such file or "
         "directory", ("libffi-dev", "build-essential")),
        ("fatal error: own/thing.h: No such file or directory", ()),
        ("/bin/sh: 1: pkg-config: not found\nmysql_config not found",
         ("pkg-config", "default-libmysqlclient-dev")),
        ("error: can't find Rust compiler", ("rustc",)),
        ("everything is fine", ()),
    ],
)  # fmt: skip
def test_finds_what_a_compilation_misses(log: str, packages: tuple[str, ...]) -> None:
    assert find_build_packages(log) == packages


@pytest.mark.parametrize(
    ("message", "package"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "libgl1"),
        ("OSError: cannot load library 'libpango-1.0-0': libpango-1.0-0", "libpango-1.0-0"),
        ("ImportError: libpq.so.5: cannot open shared object file", "libpq5"),
        ("ImportError: libown.so.1: cannot open shared object file", ""),
        ("ImportError: no module", ""),
    ],
)
def test_finds_the_package_of_a_library(message: str, package: str) -> None:
    assert find_library_package(message) == package


def test_says_how_to_leave_out_what_the_archive_does_not_have() -> None:
    log = "E: Unable to locate package own-tool\nE: Package 'old-dev' has no installation candidate"
    advice = advise_on_packages(log, ("own-tool",))
    assert "--set 'run_packages=[\"-own-tool\"]' --set 'build_packages=[\"-old-dev\"]'" in advice
    assert advise_on_packages("E: something else", ()) == ""


def test_knows_archives_of_others_and_headers() -> None:
    assert is_third_party("docker-ce-cli")
    assert is_third_party("google-chrome-stable")
    assert not is_third_party("docker.io")
    assert all(name.endswith("-dev") for name in RUNTIME_LIBRARIES)
    assert not COMPILERS & set(RUNTIME_LIBRARIES.values())
