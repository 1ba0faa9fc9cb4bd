"""Build small pure-Python wheels that pip and uv can install."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

_WHEEL = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(name: str, version: str, files: Mapping[str, str | bytes]) -> tuple[str, bytes]:
    """Return the file name and the content of a wheel. ``files`` maps paths to contents."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": _WHEEL,
        f"{info}/RECORD": "",
    }
    content = BytesIO()
    with ZipFile(content, "w") as archive:
        for path, text in {**files, **metadata}.items():
            archive.writestr(path, text)
    return f"{module}-{version}-py3-none-any.whl", content.getvalue()


def make_wheel(folder: Path, name: str, version: str, code: str) -> Path:
    """Write a wheel with one module into ``folder`` and return its path."""
    filename, content = build_wheel(name, version, {f"{name.replace('-', '_')}.py": code})
    path = folder / filename
    path.write_bytes(content)
    return path
