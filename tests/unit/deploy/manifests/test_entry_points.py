"""Which module names the images of each version understand."""

from __future__ import annotations

import pytest

from deploy.manifests.entry_points import adapt_command, get_image_version
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings
from deploy.manifests.reconciler import render_reconciler_objects

OLD_IMAGE = "localhost:32000/pypi-mirror:0.1.0-0123456789ab@sha256:" + "d" * 64
NEW_IMAGE = "docker.io/library/pypi-mirror:0.2.0-0123456789ab"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (OLD_IMAGE, "0.1.0"),
        (NEW_IMAGE, "0.2.0"),
        ("pypi-mirror:0.2.1-0123456789ab", "0.2.1"),
        ("registry.example/pypi-mirror:production", None),
        ("registry.example/other:0.1.0-0123456789ab", None),
        ("", None),
    ],
)
def test_reads_the_version_from_the_reference(image: str, version: str | None) -> None:
    assert get_image_version(image) == version


def test_keeps_the_command_for_current_and_unknown_images() -> None:
    command = ["python3", "-m", "mirror.reconciler", "--page", "a=/b"]
    assert adapt_command(command, NEW_IMAGE) == command
    assert adapt_command(command, "registry.example/pypi-mirror:production") == command


def test_starts_the_modules_that_an_image_of_version_0_1_has() -> None:
    deployment = render_reconciler_objects(OLD_IMAGE, [])[-1]
    (reconciler,) = deployment["spec"]["template"]["spec"]["containers"]
    assert reconciler["command"] == ["python3", "-m", "mirror.keeper"]
    pod = render_objects(ClusterSettings(image=OLD_IMAGE))[-1]["spec"]["template"]["spec"]
    modules = {each["name"]: each["command"][2] for each in pod["containers"]}
    assert modules["devpi"] == "mirror.private"
    assert modules["public"] == "mirror.public"
    (prepare,) = pod["initContainers"]
    assert prepare["command"][2] == "mirror.store.prepare"
