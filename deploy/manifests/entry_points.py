"""The version of the mirror's image, and the commands that images of older versions understand."""

from __future__ import annotations

import re
from collections.abc import Sequence

_REFERENCE = re.compile(r"(?:^|/)pypi-mirror:(\d[\w.]*?)-[0-9a-f]{12}(?:@|$)")
_MODULES_0_1 = {
    "mirror.cache": "mirror.public",
    "mirror.private_names": "mirror.private",
    "mirror.reconciler": "mirror.keeper",
}


def get_image_version(image: str) -> str | None:
    """The version in the reference of an image built by `build-image mirror`; None for others."""
    match = _REFERENCE.search(image)
    return match[1] if match else None


def adapt_command(command: Sequence[str], image: str) -> list[str]:
    """The command with the module names that this image has.

    Images of version 0.1 stay in use where `mirror up` or `mirror fix` finds no newer one. An image
    whose tag does not show its version is taken for a current one.
    """
    version = get_image_version(image) or ""
    modules = _MODULES_0_1 if version.startswith("0.1.") else {}
    return [modules.get(word, word) for word in command]
