"""The parts of a package: one module a part, found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def load_extensions(package: ModuleType) -> tuple[ModuleType, ...]:
    """All modules right inside a package, loaded, by name.

    A part that cannot be loaded raises what it raises: a broken part is never left out in silence.
    """
    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names)
