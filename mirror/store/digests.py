"""The hashes with which stored files are verified."""

from __future__ import annotations

import hashlib
from typing import Any

BLAKE2B = "blake2b-256"  # in the paths of files; hashlib's own blake2b has 512 bits


def create_digest(algorithm: str) -> Any:
    """Return a hash object of an algorithm; None if it is unknown."""
    if algorithm == BLAKE2B:
        return hashlib.blake2b(digest_size=32)
    if algorithm not in hashlib.algorithms_available or algorithm.startswith("shake"):
        return None
    return hashlib.new(algorithm, usedforsecurity=False)
