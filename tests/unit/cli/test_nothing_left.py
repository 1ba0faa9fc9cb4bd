"""After everything is undone and purged, the API has what it had before: every object of any kind.

tests/cluster/test_trust.py compares the nodes of a real cluster too.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploy.fix_registry import build_engine
from tests.kubernetes_api import MemoryApi
from tests.unit.cli.memory_lab import CommandLab, apply_dns_fix, make_deployment

COREFILE = ".:53 {\n    errors\n    forward . 9.9.9.9\n    reload\n}\n"
# what the API server counts by itself
COUNTED = ("resourceVersion", "generation", "managedFields")


def read_objects(api: MemoryApi) -> dict[str, Any]:
    objects = copy.deepcopy(api.dump())
    for obj in objects.values():
        for name in COUNTED:
            obj["metadata"].pop(name, None)
        if obj["metadata"].get("annotations") == {}:
            del obj["metadata"]["annotations"]
    return {name: obj for name, obj in objects.items() if not name.startswith("Event/")}


def seed_cluster(api: MemoryApi) -> None:
    meta = {"name": "coredns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    api.seed(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": COREFILE}},
        make_deployment("backend"),
        make_deployment("other"),
    )


def change_everything(lab: CommandLab) -> None:
    lab.install()
    for words in (
        "attach deployment/backend -n shop --ndots --yes",
        "attach deployment/other -n shop --no-index --ndots --yes",
        "env --publish default",
    ):
        result = lab.run(*words.split())
        assert result.code == 0, result.err
    apply_dns_fix(build_engine(lab.cluster))


@pytest.mark.parametrize(
    "commands",
    [
        ["rollback --yes", "detach -A --yes", "down --purge --yes"],
        ["detach -A --yes", "rollback --yes", "down", "down --purge --yes"],
        ["uninstall --yes"],
    ],
)
def test_the_whole_api_is_as_it_was(lab: CommandLab, commands: list[str]) -> None:
    seed_cluster(lab.api)
    before = read_objects(lab.api)
    change_everything(lab)
    changed = read_objects(lab.api)
    assert changed["ConfigMap/kube-system/coredns"] != before["ConfigMap/kube-system/coredns"]
    for name in ("backend", "other"):
        assert changed[f"Deployment/shop/{name}"] != before[f"Deployment/shop/{name}"]
    for command in commands:
        result = lab.run(*command.split())
        assert result.code == 0, result.out + result.err
    assert read_objects(lab.api) == before
