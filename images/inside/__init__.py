"""Programs that run inside containers: standard library only, never imported by this package."""

from pathlib import Path

INSIDE = Path(__file__).parent


def read_program(name: str) -> bytes:
    """Return the source of one of the programs, such as ``monitor.py``."""
    return (INSIDE / name).read_bytes()
