"""The version of the mirror's image, and the commands that images of version 0.1 understand.

They stay in use where `mirror up` or `mirror fix` of a later version finds no newer image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploy.manifests.model import Object

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


def has_0_1_modules(image: str, *workloads: Object | None) -> bool:
    """Whether the image has the module names of version 0.1.

    If its reference does not show the version, it has them if one of the existing ``workloads``
    starts them from this image.
    """
    version = get_image_version(image)
    if version is not None:
        return version.startswith("0.1.")
    old_modules = frozenset(_MODULES_0_1.values())
    return any(
        container["image"] == image and not old_modules.isdisjoint(container.get("command") or ())
        for workload in workloads
        if workload is not None
        for container in workload["spec"]["template"]["spec"]["containers"]
    )


def adapt_command(command: Sequence[str], *, is_0_1: bool) -> list[str]:
    """The command with the module names of version 0.1, if the image has them."""
    return [_MODULES_0_1.get(word, word) if is_0_1 else word for word in command]
