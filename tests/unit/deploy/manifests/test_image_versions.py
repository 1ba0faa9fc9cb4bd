"""Which module names the images of each version understand."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from deploy.manifests.image_versions import get_image_version, has_0_1_modules
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings
from deploy.manifests.reconciler import render_reconciler_objects

OLD_IMAGE = "localhost:32000/pypi-mirror:0.1.0-0123456789ab@sha256:" + "d" * 64
OWN_TAG = "registry.example/pypi-mirror:production"
NEW_IMAGE = "docker.io/library/pypi-mirror:0.2.0-0123456789ab"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (OLD_IMAGE, "0.1.0"),
        (NEW_IMAGE, "0.2.0"),
        ("pypi-mirror:0.2.1-0123456789ab", "0.2.1"),
        (OWN_TAG, None),
        ("registry.example/other:0.1.0-0123456789ab", None),
        ("", None),
    ],
)
def test_reads_the_version_from_the_reference(image: str, version: str | None) -> None:
    assert get_image_version(image) == version


def make_workload(image: str, module: str) -> dict[str, Any]:
    container = {"name": "c", "image": image, "command": ["python3", "-m", module]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


@pytest.mark.parametrize(
    ("image", "workload", "has_old_modules"),
    [
        (OLD_IMAGE, None, True),
        (OLD_IMAGE, make_workload(OLD_IMAGE, "mirror.cache"), True),
        (NEW_IMAGE, make_workload(NEW_IMAGE, "mirror.keeper"), False),
        (OWN_TAG, None, False),
        (OWN_TAG, make_workload(OWN_TAG, "mirror.keeper"), True),
        (OWN_TAG, make_workload(OWN_TAG, "mirror.public"), True),
        (OWN_TAG, make_workload(OWN_TAG, "mirror.cache"), False),
        (OWN_TAG, make_workload("registry.example/pypi-mirror:before", "mirror.public"), False),
    ],
)
def test_recognizes_images_of_version_0_1(
    image: str, workload: dict[str, Any] | None, has_old_modules: bool
) -> None:
    assert has_0_1_modules(image, None, workload) is has_old_modules


def test_starts_the_modules_that_the_image_has() -> None:
    def get_modules(*, image_is_0_1: bool) -> dict[str, str]:
        settings = ClusterSettings(image="x", image_is_0_1=image_is_0_1)
        mirror = render_objects(settings)[-1]
        reconciler = render_reconciler_objects("x", [], image_is_0_1=image_is_0_1)[-1]
        containers = [
            container
            for workload in (mirror, reconciler)
            for field in ("initContainers", "containers")
            for container in workload["spec"]["template"]["spec"].get(field, ())
        ]
        return {each["name"]: each["command"][2] for each in containers if each["name"] != "front"}

    assert get_modules(image_is_0_1=True) == {
        "prepare": "mirror.store.prepare",
        "devpi": "mirror.private",
        "public": "mirror.public",
        "keeper": "mirror.keeper",
    }
    assert get_modules(image_is_0_1=False) == {
        "prepare": "mirror.store.prepare",
        "devpi": "mirror.private_names",
        "public": "mirror.cache",
        "keeper": "mirror.reconciler",
    }


def test_every_module_of_this_version_exists() -> None:
    for module in ("mirror.cache", "mirror.private_names", "mirror.reconciler"):
        assert find_spec(module) is not None
