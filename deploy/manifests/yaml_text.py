"""Objects as YAML for people: texts of several lines as blocks, no anchors."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString


def render_yaml(documents: Iterable[Any], *, unicode: bool = True) -> str:
    """Return the documents as a YAML stream; without ``unicode``, only in ASCII."""
    writer = YAML()
    writer.default_flow_style = False
    writer.allow_unicode = unicode
    writer.width = 1000  # no line is folded
    writer.representer.ignore_aliases = lambda _: True  # for kubectl, not for people
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    for number, document in enumerate(documents):
        if number:
            stream.write("---\n")
        writer.dump(_as_block_text(document), stream)
    return stream.getvalue()


def _as_block_text(value: Any) -> Any:
    """Return a document whose texts of several lines are written line by line."""
    if isinstance(value, dict):
        return {key: _as_block_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_block_text(item) for item in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value
