"""The node agent's DaemonSet: the only pods of ours that access host files."""

from __future__ import annotations

import pytest

from deploy.manifests.agent import render_agent_daemon_set


@pytest.mark.parametrize("microk8s", [False, True])
def test_has_no_more_access_than_it_needs(microk8s: bool) -> None:
    daemon_set = render_agent_daemon_set("mirror:1", microk8s=microk8s)
    spec = daemon_set["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is True
    assert not spec.get("hostPID")
    assert not spec.get("hostIPC")
    assert spec["automountServiceAccountToken"] is False
    assert spec["tolerations"] == [{"operator": "Exists"}]
    (container,) = spec["containers"]
    assert container["securityContext"] == {"privileged": True, "readOnlyRootFilesystem": True}
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"etc", "told", *(("cni",) if microk8s else ())}
    assert "ports" not in container
    host_paths = [each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each]
    cni = "/var/snap/microk8s/current" if microk8s else "/opt/cni/bin"
    assert host_paths == ["/etc", cni]
