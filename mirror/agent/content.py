"""A file's content as it stands in JSON: base64; None, where there is no file, stays None."""

from __future__ import annotations

import base64


def encode_content(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def decode_content(text: str | None) -> bytes | None:
    """Raises ValueError for what is not base64."""
    return None if text is None else base64.b64decode(text, validate=True)
