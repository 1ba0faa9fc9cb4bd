"""Calico's objects as in MicroK8s: its CRDs, calico-config, and the stand-in's DaemonSet.

Installed by manifest, dual stack, with IP6=autodetect.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests import REPOSITORY
from tests.cluster import versions
from tests.cluster.objects import build_cluster_role, render_list
from tests.cluster.record import LabRecord

CRDS = REPOSITORY / "tests/data/calico"
CNI_CONFIG_TEMPLATE = """{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "log_level": "info",
      "log_file_path": "/var/log/calico/cni/cni.log",
      "datastore_type": "kubernetes",
      "nodename": "__KUBERNETES_NODE_NAME__",
      "mtu": __CNI_MTU__,
      "ipam": {
          "type": "calico-ipam",
          "assign_ipv4": "true",
          "assign_ipv6": "%s"
      },
      "policy": {
          "type": "k8s"
      },
      "kubernetes": {
          "kubeconfig": "__KUBECONFIG_FILEPATH__"
      }
    },
    {
      "type": "portmap",
      "snat": true,
      "capabilities": {"portMappings": true}
    }
  ]
}"""


def render_crds() -> str:
    """Return Calico's published CustomResourceDefinitions as a YAML stream."""
    return "\n---\n".join(file.read_text() for file in sorted(CRDS.glob("*.yaml")))


def render_v3_pool_crd() -> str:
    """Return the CRD of IPPools for clusters that store them as projectcalico.org/v3.

    It is derived from the v1 CRD: Calico generates both from the same Go type.
    """
    crd = yaml.safe_load((CRDS / "crd.projectcalico.org_ippools.yaml").read_text())
    crd["metadata"]["name"] = "ippools.projectcalico.org"
    spec = crd["spec"]
    spec |= {"group": "projectcalico.org", "preserveUnknownFields": False}
    (version,) = spec["versions"]
    version["name"] = "v3"
    version["schema"]["openAPIV3Schema"]["required"] = ["metadata", "spec"]
    return json.dumps(crd)


def render_calico_node(record: LabRecord) -> str:
    """Return calico-config, the service account with its rights, and the DaemonSet, as a List."""
    dual_stack = record.options.no_ipv6_route
    config = {"calico_backend": "bird", "veth_mtu": "1440", "typha_service_name": "none"}
    config["cni_network_config"] = CNI_CONFIG_TEMPLATE % ("true" if dual_stack else "false")
    metadata = {"name": "calico-node", "namespace": "kube-system"}
    rules = [
        {"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["crd.projectcalico.org"], "resources": ["*"], "verbs": ["*"]},
    ]
    subject = {"kind": "ServiceAccount", **metadata}
    items = [
        _build_object("v1", "ServiceAccount", metadata),
        *build_cluster_role("calico-node", rules, subject),
        _build_object("v1", "ConfigMap", {**metadata, "name": "calico-config"}, data=config),
        _build_object(
            "apps/v1", "DaemonSet", metadata, spec=_build_spec(record, dual_stack=dual_stack)
        ),
    ]
    return render_list(items)


def _build_object(version: str, kind: str, meta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


def _build_spec(record: LabRecord, *, dual_stack: bool) -> dict[str, Any]:
    site = record.site
    # The Service's address does not work until kube-proxy has written its rules.
    server = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": str(site.router)},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "16443"},
    ]
    node = {"name": "NODENAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}

    def from_config(name: str, key: str) -> dict[str, Any]:
        source = {"configMapKeyRef": {"name": "calico-config", "key": key}}
        return {"name": name, "valueFrom": source}

    settings = {"CALICO_IPV4POOL_CIDR": str(site.pods), "IP": "autodetect"}
    if dual_stack:
        settings |= {"CALICO_IPV6POOL_CIDR": str(site.ipv6_network), "IP6": "autodetect"}
    else:
        settings |= {"IP6": "none"}
    env = [*server, node, *({"name": k, "value": v} for k, v in settings.items())]
    folders = {
        "net-d": ("/etc/cni/net.d", "/host/etc/cni/net.d"),
        "bin": ("/opt/cni/bin", "/host/opt/cni/bin"),
        "var": ("/var/lib/calico", "/var/lib/calico"),
    }
    mounts = [
        {"name": name, "mountPath": container_path} for name, (_, container_path) in folders.items()
    ]
    common = {
        "image": versions.CALICO_IMAGE,
        "imagePullPolicy": "Never",
        "securityContext": {"privileged": True},
        "volumeMounts": mounts,
    }
    config = from_config("CNI_NETWORK_CONFIG", "cni_network_config")
    install_env = [*server, node, config, from_config("CNI_MTU", "veth_mtu")]
    labels = {"k8s-app": "calico-node"}
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "calico-node",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [
            {**common, "name": "install-cni", "args": ["install"], "env": install_env}
        ],
        "containers": [{**common, "name": "calico-node", "args": ["run"], "env": env}],
        "volumes": [
            {"name": name, "hostPath": {"path": host_path, "type": "DirectoryOrCreate"}}
            for name, (host_path, _) in folders.items()
        ],
    }
    return {
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
