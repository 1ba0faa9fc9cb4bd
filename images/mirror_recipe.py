"""The recipe of the mirror's image: images/recipes/mirror.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from images.recipes import RECIPES
from mirror.core.codec import load


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrograms:
    """Static programs from hashed wheels, for pods that test their view of the network.

    ``platforms`` maps an architecture, as Docker names it, to the wheel tag of its static build.
    """

    requirements: str  # file name beside the recipe
    programs: tuple[str, ...]
    platforms: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRecipe:
    """The parts of the image. ``checks`` are programs (argv) that must exit with 0 in it."""

    name: str
    title: str
    base: str
    system_packages: tuple[str, ...]
    requirements: str  # file name beside the recipe
    user: str
    user_id: int
    probe: ProbePrograms
    checks: tuple[tuple[str, ...], ...]


def load_mirror_recipe() -> MirrorRecipe:
    """Read ``images/recipes/mirror.toml``. Raises DecodeError if its keys do not fit."""
    return load(MirrorRecipe, tomllib.loads((RECIPES / "mirror.toml").read_text()))
