"""The form with which a wheel or an sdist is uploaded, as devpi-client sends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from urllib3.filepost import choose_boundary, encode_multipart_formdata

from mirror.core.errors import InputError

_CHUNK = 1 << 20


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata as form fields, with devpi-client's code. Raises InputError."""
    from devpi.upload import get_pkginfo
    from devpi_common.metadata import get_pyversion_filetype

    if not path.is_file():
        raise InputError(f"no such file: {path}", next_step="name a wheel or an sdist")
    what = f"neither a wheel nor an sdist: {path}"
    next_step = "name a .whl or .tar.gz file that a build created"
    try:
        info = get_pkginfo(path)
        pyversion, filetype = get_pyversion_filetype(path.name)
    except Exception as error:
        why = _explain(path, error)
        raise InputError(what, why=why, next_step=next_step) from error
    if not getattr(info, "name", None) or not getattr(info, "version", None):
        why = "its metadata have no project name and version"
        raise InputError(what, why=why, next_step=next_step)
    fields = {attr: getattr(info, attr) for attr in info}
    fields |= {"pyversion": pyversion, "filetype": filetype}
    return {key: value for key, value in fields.items() if value not in (None, "", (), [])}


def _explain(path: Path, error: Exception) -> str:
    """Return why the metadata cannot be read, in words of packages."""
    if not path.name.endswith((".whl", ".tar.gz", ".zip")):
        return "its name does not end with .whl, .tar.gz or .zip"
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as unreadable:
        return unreadable.strerror or str(unreadable)
    if not start:
        return "it is empty"
    if not start.startswith(b"\x1f\x8b" if path.name.endswith(".gz") else b"PK"):
        return "its content is not an archive: perhaps a download that failed"
    return f"the archive is damaged or has no metadata ({type(error).__name__}: {error})"


def encode_form(fields: Mapping[str, Any], path: Path) -> tuple[Iterator[bytes], Mapping[str, str]]:
    """Encode an upload form, sent in blocks because a wheel may not fit into memory."""
    boundary = choose_boundary()
    pairs = [
        (name, item)
        for name, value in fields.items()
        for item in (value if isinstance(value, list | tuple) else (value,))
    ]
    form, content_type = encode_multipart_formdata(
        [*pairs, ("content", (path.name, b"", "application/octet-stream"))], boundary
    )
    end = f"\r\n--{boundary}--\r\n".encode()
    head = form.removesuffix(end)
    size = len(head) + path.stat().st_size + len(end)

    def blocks() -> Iterator[bytes]:
        yield head
        with path.open("rb") as content:
            while chunk := content.read(_CHUNK):
                yield chunk
        yield end

    return blocks(), {"Content-Type": content_type, "Content-Length": str(size)}
