"""An application's Deployments, and how doctor compares the proof with the running image."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from cli.output import terminal
from deploy.evidence.workloads import _runs_other_image
from deploy.manifests.application import PROOF_ANNOTATION, render_application
from images.application_recipe import load_application_recipe
from images.recipes import RECIPES

IMAGE_DIGEST, MANIFEST_DIGEST = (f"sha256:{digit * 64}" for digit in "12")


def render_chronicle(*proved_digests: str) -> list[Any]:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    return render_application(recipe, "localhost:32000/chronicle:1", proved_digests)


def test_renders_a_deployment_per_start_command_and_a_service_per_port() -> None:
    objects = render_chronicle(IMAGE_DIGEST)
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in objects] == [
        ("Deployment", "chronicle-backend"),
        ("Service", "chronicle-backend"),
        ("Deployment", "chronicle-workers"),
    ]


def test_starts_the_unchanged_command_without_privileges() -> None:
    backend, service, workers = render_chronicle(IMAGE_DIGEST, MANIFEST_DIGEST)
    template = backend["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["command"][:4] == ["uv", "run", "--extra", "deepgram"]
    assert container["startupProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert container["envFrom"] == [{"secretRef": {"name": "chronicle"}}]
    assert "only-in-the-proof" not in str(backend)
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    proof = f"{IMAGE_DIGEST} {MANIFEST_DIGEST}"
    assert template["metadata"]["annotations"] == {PROOF_ANNOTATION: proof}
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    assert "startupProbe" not in workers["spec"]["template"]["spec"]["containers"][0]


def test_mounts_each_file_that_the_proof_had_a_copy_of() -> None:
    recipe = load_application_recipe(RECIPES / "chronicle.toml")
    mounts = {"/app/memory.yaml": "memory.yaml.template", "/app/a/x.json": "", "/app/b/x.json": ""}
    objects = render_application(recipe, "chronicle:1", (), mounts)
    pods = [obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        assert pod["volumes"] == [{"name": "files", "configMap": {"name": "chronicle-files"}}]
        (container,) = pod["containers"]
        assert [(m["mountPath"], m["subPath"]) for m in container["volumeMounts"]] == [
            ("/app/memory.yaml", "memory.yaml"),
            ("/app/a/x.json", "app_a_x.json"),
            ("/app/b/x.json", "app_b_x.json"),
        ]
    assert "volume" not in str(render_application(recipe, "chronicle:1", ()))


def test_annotates_nothing_without_a_proof() -> None:
    assert all("annotations" not in str(obj) for obj in render_chronicle())


@pytest.mark.parametrize(
    ("image", "proof", "is_other"),
    [
        (IMAGE_DIGEST, IMAGE_DIGEST, False),  # imported: the image's own digest
        (  # pulled: the digest of its manifest
            f"localhost:32000/chronicle@{MANIFEST_DIGEST}",
            f"{IMAGE_DIGEST} {MANIFEST_DIGEST}",
            False,
        ),
        (IMAGE_DIGEST, MANIFEST_DIGEST, True),
        ("", MANIFEST_DIGEST, False),  # nothing runs yet
        (IMAGE_DIGEST, "by-hand", False),
    ],
)
def test_compares_the_running_image_with_the_proof(image: str, proof: str, is_other: bool) -> None:
    pod = {"status": {"containerStatuses": [{"imageID": image}, {"imageID": ""}]}}
    assert _runs_other_image(pod, proof) is is_other


def test_prints_yaml_without_aliases_for_what_objects_share() -> None:
    text = io.StringIO()
    terminal.yaml_documents(render_chronicle(IMAGE_DIGEST), text)
    assert not re.search(r"[&*]id\d", text.getvalue())
