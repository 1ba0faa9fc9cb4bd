"""The tests of the project, and their helpers."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
