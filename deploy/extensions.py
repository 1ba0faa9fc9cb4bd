"""Load the modules of an extension package: each check category, fix or delivery is one module."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType


def load_extensions(package: ModuleType) -> tuple[ModuleType, ...]:
    """Return all modules directly in a package, by name. Raises what their import raises."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"{package.__name__}.{name}") for name in names)


def list_extension_names(package: str) -> tuple[str, ...]:
    """Return the names of the modules directly in a package, sorted, without importing them."""
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folders)))
