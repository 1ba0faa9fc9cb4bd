"""The recipes that come with the program, and the files they refer to."""

from pathlib import Path

RECIPES = Path(__file__).parent


def list_recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, including the one of the mirror's image, sorted."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))
