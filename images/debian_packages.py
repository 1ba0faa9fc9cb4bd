"""Debian packages for what builds and programs miss: headers, programs, shared libraries."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# -dev package → the package with its shared library (Debian 12 and 13)
RUNTIME_LIBRARIES = {
    "default-libmysqlclient-dev": "libmariadb3",
    "libcairo2-dev": "libcairo2",
    "libcurl4-openssl-dev": "libcurl4",
    "libffi-dev": "libffi8",
    "libfreetype6-dev": "libfreetype6",
    "libgeos-dev": "libgeos-c1v5",
    "freetds-dev": "libsybdb5",
    "libkrb5-dev": "libgssapi-krb5-2",
    "libjpeg-dev": "libjpeg62-turbo",
    "libjpeg62-turbo-dev": "libjpeg62-turbo",
    "libldap-dev": "libldap2",
    "libldap2-dev": "libldap2",
    "libmagic-dev": "libmagic1",
    "libmariadb-dev": "libmariadb3",
    "libpq-dev": "libpq5",
    "libsasl2-dev": "libsasl2-2",
    "libsndfile1-dev": "libsndfile1",
    "libsodium-dev": "libsodium23",
    "libssl-dev": "openssl",
    "libwebp-dev": "libwebp7",
    "libxml2-dev": "libxml2",
    "libxmlsec1-dev": "libxmlsec1-openssl",
    "libxslt-dev": "libxslt1.1",
    "libxslt1-dev": "libxslt1.1",
    "libyaml-dev": "libyaml-0-2",
    "libzmq3-dev": "libzmq5",
    "unixodbc-dev": "unixodbc",
    "zlib1g-dev": "zlib1g",
}
COMPILERS = frozenset(
    {
        *(
            "autoconf",
            "automake",
            "binutils",
            "bison",
            "build-essential",
            "cargo",
            "clang",
            "cmake",
        ),
        *("dpkg-dev", "flex", "g++", "gcc", "gfortran", "git", "libc-dev", "libc6-dev", "libtool"),
        *(
            "libtool-bin",
            "linux-headers",
            "llvm",
            "make",
            "meson",
            "musl-dev",
            "nasm",
            "ninja-build",
        ),
        *("patchelf", "pkg-config", "pkgconf", "python-dev", "python3-dev", "rustc", "swig"),
    }
)
# names that no Debian archive has: their makers have archives of their own
_THIRD_PARTY = re.compile(
    r"docker-(ce|buildx|compose)[a-z-]*|containerd\.io|google-(chrome|cloud)-[a-z-]+|msodbcsql\d+|"
    r"mssql-tools\d*|mongodb-(org|database-tools|mongosh)[a-z-]*|azure-cli|kubectl|kubelet|kubeadm|"
    r"terraform|vault|yarn|helm|code|newrelic-[a-z-]+|datadog-agent|cuda-[a-z0-9-]+|libcudnn\d+"
)
_HEADERS = (  # pattern of a header's path → package
    (r"Python\.h", "python3-dev"),
    (r"libpq-fe\.h", "libpq-dev"),
    (r"mysql(/mysql)?\.h|mysqld_error\.h", "default-libmysqlclient-dev"),
    (r"ffi\.h", "libffi-dev"),
    (r"openssl/.+\.h", "libssl-dev"),
    (r"libxml/.+\.h", "libxml2-dev"),
    (r"libxslt/.+\.h", "libxslt1-dev"),
    (r"jpeglib\.h", "libjpeg-dev"),
    (r"zlib\.h", "zlib1g-dev"),
    (r"(lber|ldap)\.h", "libldap2-dev"),
    (r"sasl(/sasl)?\.h", "libsasl2-dev"),
    (r"sql(ext)?\.h", "unixodbc-dev"),
    (r"yaml\.h", "libyaml-dev"),
    (r"curl/curl\.h", "libcurl4-openssl-dev"),
    (r"magic\.h", "libmagic-dev"),
    (r"sndfile\.h", "libsndfile1-dev"),
    (r"portaudio\.h", "portaudio19-dev"),
    (r"cairo\.h", "libcairo2-dev"),
    (r"snappy-c\.h", "libsnappy-dev"),
    (r"gmp\.h", "libgmp-dev"),
    (r"geos_c\.h", "libgeos-dev"),
    (r"librdkafka/rdkafka\.h", "librdkafka-dev"),
    (r"systemd/.+\.h", "libsystemd-dev"),
    (r"xmlsec/.+\.h", "libxmlsec1-dev"),
    (r"(linux|sys|asm|bits)/.+\.h|std[a-z]+\.h|limits\.h", "build-essential"),
)
_PROGRAMS = {
    "cargo": "cargo",
    "cc": "build-essential",
    "cmake": "cmake",
    "c++": "build-essential",
    "g++": "build-essential",
    "gcc": "build-essential",
    "gfortran": "gfortran",
    "git": "git",
    "make": "build-essential",
    "mysql_config": "default-libmysqlclient-dev",
    "mariadb_config": "libmariadb-dev",
    "ninja": "ninja-build",
    "pg_config": "libpq-dev",
    "pkg-config": "pkg-config",
    "rustc": "rustc",
    "swig": "swig",
    "x86_64-linux-gnu-gcc": "build-essential",
    "aarch64-linux-gnu-gcc": "build-essential",
}
_LIBRARIES = (  # pattern of a shared library → package
    (r"libGL\.so\.1", "libgl1"),
    (r"libgthread-2\.0\.so\.0|libglib-2\.0\.so\.0|libgobject-2\.0\.so\.0", "libglib2.0-0"),
    (r"libgomp\.so\.1", "libgomp1"),
    (r"libmagic\.so\.1", "libmagic1"),
    (r"libmariadb\.so\.3|libmysqlclient\.so\.\d+", "libmariadb3"),
    (r"libpango-1\.0(\.so\.0|-0)|libpango.*", "libpango-1.0-0"),
    (r"libpq\.so\.5", "libpq5"),
    (r"libsndfile\.so(\.1)?", "libsndfile1"),
    (r"libSM\.so\.6", "libsm6"),
    (r"libXext\.so\.6", "libxext6"),
    (r"libXrender\.so\.1", "libxrender1"),
    (r"libxml2\.so\.2", "libxml2"),
    (r"libxslt\.so\.1", "libxslt1.1"),
    (r"libzbar\.so\.0", "libzbar0"),
    (r"libodbc\.so\.2", "unixodbc"),
    (r"libcairo\.so\.2", "libcairo2"),
    (r"libgdal\.so(\.\d+)?", "gdal-bin"),
    (r"libgeos_c\.so(\.1)?", "libgeos-c1v5"),
    (r"libportaudio\.so\.2", "libportaudio2"),
    (r"libxmlsec1.*", "libxmlsec1-openssl"),
)


def is_third_party(package: str) -> bool:
    """Whether only an archive of its maker has the package."""
    return _THIRD_PARTY.fullmatch(package) is not None


def advise_on_packages(log: str, run_packages: Collection[str]) -> str:
    """Return what to do about packages that the archive does not have, by apt's messages.

    Returns "" if that is not what failed. ``run_packages`` are those of the run stage.
    """
    missing = dict.fromkeys(
        name
        for found in re.findall(
            r"Unable to locate package (\S+)|Package '(\S+)' has no installation candidate", log
        )
        for name in found
        if name
    )
    if not missing:
        return ""
    changes = [
        f"--set '{key}=[{names}]'"
        for key, chosen in (
            ("run_packages", [name for name in missing if name in run_packages]),
            ("build_packages", [name for name in missing if name not in run_packages]),
        )
        if (names := ", ".join(f'"-{name}"' for name in chosen))
    ]
    return (
        f"this release of Debian has no {', '.join(missing)}: leave it out with "
        f"{' '.join(changes)}, or name the package that replaces it"
    )


def find_build_packages(log: str) -> tuple[str, ...]:
    """Return the Debian packages that a failed compilation asks for, by its log."""
    return tuple(dict.fromkeys(_list_build_packages(log)))


def find_library_package(message: str) -> str:
    """Return the Debian package of the shared library that a message misses, or ""."""
    missing = re.search(
        r"(lib[\w.+-]+?\.so[\w.]*): cannot open shared object|"
        r"(?:cannot load library|no library called) ['\"]([\w.+-]+)['\"]",
        message,
    )
    name = (missing[1] or missing[2]) if missing else ""
    found = (package for pattern, package in _LIBRARIES if re.fullmatch(pattern, name))
    return next(found, "") if name else ""


def _list_build_packages(log: str) -> Iterator[str]:
    for header in re.findall(r"fatal error: ([\w/.+-]+\.h): No such file", log):
        found = (package for pattern, package in _HEADERS if re.fullmatch(pattern, header))
        yield from [*found][:1]
    missing = (
        r"command '([\w+-]+)' failed: No such file or directory",
        r"unable to execute '([\w+-]+)'",
        r"No such file or directory: '([\w+-]+)'",
        r"\b(pg_config|mysql_config|mariadb_config|pkg-config|cargo|rustc|cmake|swig)\b"
        r"[^\n]{0,40}\b(?:not found|is not installed|not installed)",
        r"(?:can't find|Can't find|[Cc]ould not find|Cannot find|not find) (?:the )?"
        r"`?(Rust compiler|pg_config|mysql_config|cmake|cargo|pkg-config|git)\b",
        r"Unknown compiler\(s\): \[\['(\w+)'",
        r"Git executable not found|(git) executable",
    )
    for pattern in missing:
        for name in re.findall(pattern, log):
            yield from filter(None, [_PROGRAMS.get(str(name).replace("Rust compiler", "rustc"))])
    if re.search(r"Rust (toolchain|compiler|and Cargo)[^\n]*(not|is required|require)", log):
        yield from ("cargo", "rustc")
