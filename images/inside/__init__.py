"""Programs that run inside containers. They use the standard library; we never import them."""

from pathlib import Path

INSIDE = Path(__file__).parent


def read_program(name: str) -> bytes:
    """Return the source of one of the programs, such as ``monitor.py``."""
    return (INSIDE / name).read_bytes()
