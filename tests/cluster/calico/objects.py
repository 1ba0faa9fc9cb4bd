"""Calico's objects in the lab: its own CRDs, calico-config, and the DaemonSet of the stand-in.

As MicroK8s has them: installed by manifest, dual stack, IP6=autodetect.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import versions
from tests.cluster.record import LabRecord

CRDS = Path(__file__).parents[2] / "data/calico"
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
    """Calico's CustomResourceDefinitions, as they are published."""
    return "\n---\n".join(file.read_text() for file in sorted(CRDS.glob("*.yaml")))


def render_v3_pool_crd() -> str:
    """The pools' one where projectcalico.org/v3 is the store: both are made from the same type."""
    made = yaml.safe_load((CRDS / "crd.projectcalico.org_ippools.yaml").read_text())
    made["metadata"]["name"] = "ippools.projectcalico.org"
    spec = made["spec"]
    spec |= {"group": "projectcalico.org", "preserveUnknownFields": False}
    (version,) = spec["versions"]
    version["name"] = "v3"
    version["schema"]["openAPIV3Schema"]["required"] = ["metadata", "spec"]
    return json.dumps(made)


def render_calico_node(record: LabRecord) -> str:
    """calico-config, the account with its rights, and the DaemonSet, as one List."""
    six = record.options.no_ipv6_route
    config = {"calico_backend": "bird", "veth_mtu": "1440", "typha_service_name": "none"}
    config["cni_network_config"] = CNI_CONFIG_TEMPLATE % ("true" if six else "false")
    named = {"name": "calico-node", "namespace": "kube-system"}
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["crd.projectcalico.org"], "resources": ["*"], "verbs": ["*"]},
    ]
    subject = {"kind": "ServiceAccount", **named}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "calico-node"}
    items = [
        _object("v1", "ServiceAccount", named),
        _object(f"{group}/v1", "ClusterRole", {"name": "calico-node"}, rules=rules),
        _object(
            f"{group}/v1",
            "ClusterRoleBinding",
            {"name": "calico-node"},
            roleRef=role,
            subjects=[subject],
        ),
        _object("v1", "ConfigMap", {**named, "name": "calico-config"}, data=config),
        _object("apps/v1", "DaemonSet", named, spec=_spec(record, six=six)),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _object(version: str, kind: str, meta: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **rest}


def _spec(record: LabRecord, *, six: bool) -> dict[str, Any]:
    site = record.site
    # Before kube-proxy has written its rules the Service's address leads nowhere.
    server = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": str(site.router)},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "16443"},
    ]
    node = {"name": "NODENAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}

    def of_config(name: str, key: str) -> dict[str, Any]:
        source = {"configMapKeyRef": {"name": "calico-config", "key": key}}
        return {"name": name, "valueFrom": source}

    given = {"CALICO_IPV4POOL_CIDR": str(site.pods), "IP": "autodetect"}
    if six:
        given |= {"CALICO_IPV6POOL_CIDR": str(site.ipv6_network), "IP6": "autodetect"}
    else:
        given |= {"IP6": "none"}
    env = [*server, node, *({"name": k, "value": v} for k, v in given.items())]
    folders = {
        "net-d": ("/etc/cni/net.d", "/host/etc/cni/net.d"),
        "bin": ("/opt/cni/bin", "/host/opt/cni/bin"),
        "var": ("/var/lib/calico", "/var/lib/calico"),
    }
    mounts = [{"name": name, "mountPath": inside} for name, (_, inside) in folders.items()]
    common = {
        "image": versions.CALICO_IMAGE,
        "imagePullPolicy": "Never",
        "securityContext": {"privileged": True},
        "volumeMounts": mounts,
    }
    config = of_config("CNI_NETWORK_CONFIG", "cni_network_config")
    installing = [*server, node, config, of_config("CNI_MTU", "veth_mtu")]
    labels = {"k8s-app": "calico-node"}
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "calico-node",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [
            {**common, "name": "install-cni", "args": ["install"], "env": installing}
        ],
        "containers": [{**common, "name": "calico-node", "args": ["run"], "env": env}],
        "volumes": [
            {"name": name, "hostPath": {"path": outside, "type": "DirectoryOrCreate"}}
            for name, (outside, _) in folders.items()
        ],
    }
    return {
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
