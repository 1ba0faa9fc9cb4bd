"""Find the files that a build backend reads: a .dockerignore must not hide them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from images.toml_file import read_pyproject

_ALWAYS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "hatch.toml", "hatch_build.py")
_WITH_UV = ("uv.lock",)  # `uv run` in the image reads it
_LICENSES = ("LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*")  # PEP 639's default


def list_metadata_files(folder: Path) -> tuple[str, ...]:
    """Return the files below a project's folder that its build needs beside the modules."""
    document = read_pyproject(folder)
    if not document and not (folder / "setup.py").is_file():
        return ()
    patterns = [*_ALWAYS, *_WITH_UV, *_list_patterns(document)]
    root = folder.resolve()
    found = {
        path.relative_to(folder).as_posix()
        for pattern in patterns
        if pattern and not pattern.startswith("/") and ".." not in Path(pattern).parts
        for path in folder.glob(pattern)
        if path.is_file() and path.resolve().is_relative_to(root)
    }
    return tuple(sorted(found))


def _list_patterns(document: Mapping[str, Any]) -> Iterator[str]:
    project, tool = document.get("project", {}), document.get("tool", {})
    poetry = tool.get("poetry", {})
    for readme in (project.get("readme"), poetry.get("readme")):
        readmes = readme if isinstance(readme, list) else [readme]
        yield from (
            str(name.get("file", "") if isinstance(name, dict) else name)
            for name in readmes
            if name
        )
    licenses = project.get("license-files", _LICENSES)
    yield from map(str, licenses if isinstance(licenses, list | tuple) else _LICENSES)
    if isinstance(license_table := project.get("license"), dict):
        yield str(license_table.get("file", ""))
    dynamic = tool.get("setuptools", {}).get("dynamic", {})
    for entry in _list_tables(dynamic):
        files = entry.get("file", [])
        yield from map(str, files if isinstance(files, list) else [files])
    hatch = tool.get("hatch", {})
    yield str(hatch.get("version", {}).get("path", ""))
    hooks = hatch.get("metadata", {}).get("hooks", {})
    for hook in _list_tables(hooks):
        yield from map(str, hook.get("files", []))
        for part in hook.get("fragments", []):
            yield str(part.get("path", "")) if isinstance(part, dict) else ""
    yield str(tool.get("pdm", {}).get("version", {}).get("path", ""))


def _list_tables(value: object) -> Iterator[dict[str, Any]]:
    """Yield a table and all tables below it."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _list_tables(inner)
