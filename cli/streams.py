"""Standard output and error: in any encoding, closed, or a pipe whose reader has gone."""

from __future__ import annotations

import codecs
import io
import os
import sys
from io import TextIOWrapper
from pathlib import Path

_PLAIN = {"✓": "ok", "✗": "x", "→": "->", "…": "...", "–": "-", "—": "-", "·": "*", "⚠": "!"}


class _TolerantStream(TextIOWrapper):
    """A stream that drops what is written to it after the reader of its pipe has gone."""

    has_reader = True

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()
            super().flush()

    def _drop(self) -> None:
        """Let later writes, and programs that are started, find an open file."""
        self.has_reader = False
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def prepare_streams() -> None:
    """Let every text be printed: in a narrow encoding (LC_ALL=C), and if a stream is closed.

    A command goes on when the reader of its output (head, less) has gone: it must not end half-way.
    """
    codecs.register_error("mirror-plain", _replace_unencodable)
    sys.stdout = _prepare(sys.stdout)
    sys.stderr = _prepare(sys.stderr)


def has_reader() -> bool:
    """Whether somebody may still read standard output. For commands that print without an end."""
    return sys.stdout.has_reader if isinstance(sys.stdout, _TolerantStream) else True


def _prepare(stream: object) -> TextIOWrapper:
    if stream is None:
        return TextIOWrapper(Path(os.devnull).open("wb"))
    if type(stream) is not TextIOWrapper:
        return stream  # type: ignore[return-value] # of a test, which reads it
    stream.flush()
    return _TolerantStream(
        io.BufferedWriter(io.FileIO(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="mirror-plain",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end
