"""Find the port in the configuration files that the commands of servers name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_GUNICORN_FILE = "gunicorn.conf.py"  # read if it is where gunicorn starts
_PORT = re.compile(
    r"(?m)^\s*(?:bind|http|http-socket|http11-socket|socket)\s*=\s*[\"'\[]*[^\"'\s#]*?:(\d{2,5})\b"
)


def find_configured_port(argv: Sequence[str], folder: Path) -> int:
    """Return the port in a file that a command of gunicorn or uWSGI reads, 0 for none.

    ``folder`` is where the command starts.
    """
    words = [word for text in argv for word in text.split()]
    programs = {word.rpartition("/")[2] for word in words}
    if not programs & {"gunicorn", "uwsgi"}:
        return 0
    for path in _list_files(words, folder):
        if path.is_file() and (match := _PORT.search(path.read_text(errors="replace"))):
            return int(match[1])
    return 0


def _list_files(words: Sequence[str], folder: Path) -> Iterator[Path]:
    for word in words:
        name = word.partition("=")[2] if word.startswith("-") else word
        if name.endswith((".py", ".ini", ".conf")):
            yield folder / name
    yield folder / _GUNICORN_FILE
