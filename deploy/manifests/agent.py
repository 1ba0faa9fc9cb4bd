"""The node agent's DaemonSet: the only pods of ours with a hand on hosts."""

from __future__ import annotations

from deploy.manifests.model import NAME, Object, build_labels, new_object
from mirror.agent.events import EVENT_QUEUE
from mirror.agent.reconcile import ENABLED_MARKER

AGENT_NAME = f"{NAME}-node-agent"
SYSTEM_NAMESPACE = (
    "kube-system"  # beside the ledger: removing the mirror's namespace takes neither along
)
DESIRED_STATE_MAP = f"{NAME}-node-orders"
DESIRED_STATE_KEY = "orders.json"
CNI_DIR = "/opt/cni/bin"
MICROK8S_CNI_DIR = "/var/snap/microk8s/current"
RECONCILER_NAME = f"{NAME}-keeper"  # of the ConfigMap too that is there while nodes are kept
AGENT_COMMAND = ("python3", "-m", "mirror.agent", "do")


def render_agent_daemon_set(
    image: str, *, microk8s: bool, pull_policy: str = "IfNotPresent"
) -> Object:
    """One pod on every node, whatever its taints, with no token and no other process in sight.

    The host's own network, and of its files /etc and the CNI's folder. Privileged, or its /proc/sys
    would be read-only; whoever may write /etc could make itself that anyway.
    """
    cni = MICROK8S_CNI_DIR if microk8s else CNI_DIR
    mounts = [
        {"name": "etc", "mountPath": "/host/etc"},
        {"name": "cni", "mountPath": "/host/cni", "readOnly": not microk8s},
        {"name": "orders", "mountPath": "/orders", "readOnly": True},
        {"name": "keeper", "mountPath": str(ENABLED_MARKER.parent), "readOnly": True},
        {"name": "told", "mountPath": str(EVENT_QUEUE.parent)},
    ]
    container: Object = {
        "name": "agent",
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["python3", "-m", "mirror.agent", "serve", "--cni", cni],
        "securityContext": {
            "privileged": True,
            "readOnlyRootFilesystem": True,
        },
        "resources": {
            "requests": {"cpu": "5m", "memory": "24Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "volumeMounts": mounts,
        "readinessProbe": {
            "exec": {"command": build_readiness_command(str(EVENT_QUEUE))},
            "periodSeconds": 15,
            "timeoutSeconds": 10,
        },
    }
    spec: Object = {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsPolicy": "Default",
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
        "containers": [container],
        "volumes": [
            {"name": "etc", "hostPath": {"path": "/etc", "type": "Directory"}},
            {"name": "cni", "hostPath": {"path": cni, "type": "DirectoryOrCreate"}},
            {"name": "orders", "configMap": {"name": DESIRED_STATE_MAP, "optional": True}},
            {"name": "keeper", "configMap": {"name": RECONCILER_NAME, "optional": True}},
            {"name": "told", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }
    chosen = build_labels("node-agent")
    body = new_object("apps/v1", "DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    body["metadata"]["labels"] = chosen
    return body | {
        "spec": {
            "selector": {"matchLabels": chosen},
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%"},
            },
            "template": {"metadata": {"labels": chosen}, "spec": spec},
        }
    }


def build_readiness_command(events_file: str) -> list[str]:
    """What the kubelet runs: where the agent has something to tell it is printed, and fails, once.

    That makes an Event without any right of the agent's. Three times in a row would be not Ready.
    """
    said = f"{events_file}.said"
    tell = f'mv "{events_file}" "{said}" && cat "{said}"; exit 1'
    return ["sh", "-c", f'test ! -e "{events_file}" || {{ {tell}; }}']
