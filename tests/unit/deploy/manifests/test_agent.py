"""The only pods of ours with a hand on hosts."""

from __future__ import annotations

import pytest

from deploy.manifests.agent import render_agent_daemon_set


@pytest.mark.parametrize("microk8s", [False, True])
def test_the_agent_has_no_more_than_it_needs(microk8s: bool) -> None:
    spec = render_agent_daemon_set("mirror:1", microk8s=microk8s)["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is True
    assert not spec.get("hostPID")
    assert not spec.get("hostIPC")
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]
    (container,) = spec["containers"]
    assert container["securityContext"] == {"privileged": True, "readOnlyRootFilesystem": True}
    writes = {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert writes == {"etc", "told", *(("cni",) if microk8s else ())}
    assert "ports" not in container
    paths = [one["hostPath"]["path"] for one in spec["volumes"] if "hostPath" in one]
    cni = "/var/snap/microk8s/current" if microk8s else "/opt/cni/bin"
    assert paths == ["/etc", cni]
