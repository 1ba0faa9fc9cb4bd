"""Load the modules of an extension package: each check category, fix or delivery is one module."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def load_extensions(package: ModuleType) -> tuple[ModuleType, ...]:
    """Return all modules directly in a package, by name. Raises what their import raises."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names)
