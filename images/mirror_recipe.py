"""What an image is made of: a TOML file in images/recipes/, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrograms:
    """Static programs out of hashed wheels, for pods that ask how the network looks to them.

    ``platforms`` maps an architecture as Docker names it to the wheel tag of its static build.
    """

    requirements: str  # file name beside the recipe
    programs: tuple[str, ...]
    platforms: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRecipe:
    """An image's parts. ``checks`` are programs that must succeed in it, each an argv."""

    name: str
    title: str
    base: str
    system_packages: tuple[str, ...]
    requirements: str  # file name beside the recipe
    user: str
    user_id: int
    probe: ProbePrograms
    checks: tuple[tuple[str, ...], ...]


def load_mirror_recipe(name: str) -> MirrorRecipe:
    """Read ``images/recipes/<name>.toml``. KeyError and TypeError where it is not a recipe."""
    told = tomllib.loads((RECIPES / f"{name}.toml").read_text())
    probe = told.pop("probe")
    checks = told.pop("checks")
    return MirrorRecipe(
        **{**told, "system_packages": tuple(told["system_packages"])},
        probe=ProbePrograms(**{**probe, "programs": tuple(probe["programs"])}),
        checks=tuple(tuple(check["argv"]) for check in checks),
    )
