"""Deployments of a baked application, and how doctor knows the proof of one again."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.evidence.workloads import _runs_other_image
from deploy.manifests.application import PROOF_ANNOTATION, render_application
from images.application_recipe import load_application_recipe
from images.mirror_recipe import RECIPES

ONE, TWO = (f"sha256:{digit * 64}" for digit in "12")


def chronicle(*proved: str) -> list[Any]:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    return render_application(recipe, "localhost:32000/chronicle:1", proved)


def test_each_start_is_a_deployment_and_a_port_a_service() -> None:
    told = [(one["kind"], one["metadata"]["name"]) for one in chronicle(ONE)]
    assert told == [
        ("Deployment", "chronicle-backend"),
        ("Service", "chronicle-backend"),
        ("Deployment", "chronicle-workers"),
    ]


def test_a_pod_starts_the_unchanged_command_without_rights() -> None:
    backend, service, workers = chronicle(ONE, TWO)
    template = backend["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["command"][:4] == ["uv", "run", "--extra", "deepgram"]
    assert container["startupProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert container["envFrom"] == [{"secretRef": {"name": "chronicle"}}]
    assert "only-in-the-proof" not in str(backend)
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert template["metadata"]["annotations"] == {PROOF_ANNOTATION: f"{ONE} {TWO}"}
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    assert "startupProbe" not in workers["spec"]["template"]["spec"]["containers"][0]


def test_what_was_not_proved_says_nothing() -> None:
    assert all("annotations" not in str(one) for one in chronicle())


@pytest.mark.parametrize(
    ("image", "proof", "disproved"),
    [
        (ONE, ONE, False),  # imported: by its own digest
        (f"localhost:32000/chronicle@{TWO}", f"{ONE} {TWO}", False),  # pulled: its manifest's
        (ONE, TWO, True),
        ("", TWO, False),  # nothing runs yet
        (ONE, "by-hand", False),
    ],
)
def test_the_image_that_runs_is_compared(image: str, proof: str, disproved: bool) -> None:
    pod = {"status": {"containerStatuses": [{"imageID": image}, {"imageID": ""}]}}
    assert _runs_other_image(pod, proof) is disproved
