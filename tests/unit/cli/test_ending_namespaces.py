"""Namespaces of workloads that are being deleted, and those that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes_api import MemoryApi
from tests.unit.cli.memory_lab import CommandLab, make_deployment

ENV_MAP = ("ConfigMap", "pypi-mirror-env", "shop")


def end_namespace(lab: CommandLab, name: str) -> None:
    """Delete a namespace that waits for something in it."""

    def begin(namespace: Any) -> None:
        namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def finish_others(api: MemoryApi) -> None:
        for namespace in api.list_objects("Namespace"):
            meta = namespace["metadata"]
            if meta.get("deletionTimestamp") and meta["name"] != name:
                api.remove("Namespace", meta["name"])

    lab.api.after_write[:] = [finish_others]
    lab.api.edit("Namespace", name, "", begin)


@pytest.mark.parametrize(
    "words", ["attach deployment/backend -n shop --ndots --yes", "env --publish shop"]
)
def test_nothing_is_written_into_a_namespace_that_ends(lab: CommandLab, words: str) -> None:
    """Neither the workload nor its copy, although only the ConfigMap would have to be created."""
    lab.install()
    lab.api.seed(make_deployment("backend"))
    end_namespace(lab, "shop")
    before = lab.api.dump()
    result = lab.run(*words.split())
    assert result.code == 5
    assert "namespace shop is being deleted" in result.err
    assert result.get_line("next").startswith("kubectl get namespace shop -o yaml")
    assert lab.api.dump() == before


def test_a_workload_is_detached_while_its_namespace_ends(lab: CommandLab) -> None:
    lab.install()
    lab.attach("backend")
    end_namespace(lab, "shop")
    result = lab.run("detach", "deployment/backend", "-n", "shop", "--yes")
    assert result.code == 0, result.err
    spec = lab.api.read("Deployment", "backend", "shop")["spec"]["template"]["spec"]
    assert "dnsConfig" not in spec
    assert "envFrom" not in spec["containers"][0]
    assert "component=ledger" not in str(lab.list_ours())


@pytest.mark.parametrize("is_gone", [False, True])
def test_uninstall_is_complete_with_a_namespace_that_ends(lab: CommandLab, is_gone: bool) -> None:
    lab.install()
    lab.attach("backend")
    assert lab.api.has(*ENV_MAP)
    if is_gone:
        lab.cluster.delete("Namespace", "shop")
        assert not lab.api.has("Namespace", "shop")
    else:
        end_namespace(lab, "shop")
    result = lab.run("uninstall", "--yes")
    assert result.code == 0, result.out + result.err
    assert lab.list_ours() == []
