"""The conditions under which a uv.lock installs its packages."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from packaging.markers import Marker

from mirror.lock_markers import find_package_markers


def package(name: str, *dependencies: str | tuple[str, str], **fields: Any) -> dict[str, Any]:
    """Make a package; a dependency is a name, or a name and a marker."""
    pairs = [(entry, "") if isinstance(entry, str) else entry for entry in dependencies]
    return {
        "name": name,
        "version": "1",
        "source": {"registry": "https://index.invalid/simple"},
        "dependencies": [
            {"name": name, "marker": marker} if marker else {"name": name} for name, marker in pairs
        ],
        **fields,
    }


WINDOWS, OLD = "sys_platform == 'win32'", "python_full_version < '3.11'"
LINUX = {"sys_platform": "linux", "python_full_version": "3.12.1"}


def find_applying(packages: list[dict[str, Any]]) -> list[str]:
    """Return the names of the packages that apply to Linux with Python 3.12."""
    markers = find_package_markers(packages)
    return [
        p["name"]
        for p, marker in zip(packages, markers, strict=True)
        if not marker or Marker(marker).evaluate(dict(LINUX))
    ]


def test_a_package_of_windows_and_what_it_needs_do_not_apply_to_linux() -> None:
    packages = [
        package("app", "lib", ("pywin32", WINDOWS), source={"virtual": "."}),
        package("lib", ("tomli", OLD), ("colorama", WINDOWS)),
        package("pywin32", "comtypes"),
        package("comtypes", "shared", "pywin32"),
        package("tomli"),
        package("colorama"),
        package("shared"),
    ]
    packages[1]["dependencies"].append({"name": "shared"})
    assert find_applying(packages) == ["app", "lib", "shared"]
    assert find_package_markers(packages)[2] == "(sys_platform == 'win32')"


def test_any_path_is_enough() -> None:
    packages = [
        package(
            "app", ("lib", WINDOWS), ("lib", "sys_platform == 'linux'"), source={"editable": "."}
        ),
        package("lib"),
    ]
    assert find_applying(packages) == ["app", "lib"]


def test_extras_and_groups_of_the_project_count() -> None:
    app = package(
        "app",
        source={"virtual": "."},
        **{
            "optional-dependencies": {"gui": [{"name": "pywin32", "marker": WINDOWS}]},
            "dev-dependencies": {"dev": [{"name": "pytest"}]},
        },
    )
    assert find_applying([app, package("pywin32"), package("pytest")]) == ["app", "pytest"]


def test_forked_versions_have_their_own_conditions() -> None:
    old, new = package("numpy"), package("numpy", version="2")
    app = package("app", source={"virtual": "."})
    app["dependencies"] = [
        {"name": "numpy", "version": "1", "marker": OLD},
        {"name": "numpy", "version": "2", "marker": "python_full_version >= '3.11'"},
    ]
    old_marker, new_marker = find_package_markers([app, old, new])[1:]
    assert not Marker(old_marker).evaluate(dict(LINUX))
    assert Marker(new_marker).evaluate(dict(LINUX))


def test_many_paths_end_with_always() -> None:
    """Conditions of deep graphs stay small."""
    layers = [[f"n{layer}-{n}" for n in range(4)] for layer in range(6)]
    packages = [
        package("app", *((n, f"extra == '{n}'") for n in layers[0]), source={"virtual": "."})
    ]
    for upper, lower in pairwise(layers):
        packages += [package(name, *((n, f"extra == '{n}'") for n in lower)) for name in upper]
    packages += [package(name) for name in layers[-1]]
    assert find_package_markers(packages)[-1] == ""


def test_a_package_that_nothing_needs_applies() -> None:
    assert find_package_markers([package("alone")]) == [""]
