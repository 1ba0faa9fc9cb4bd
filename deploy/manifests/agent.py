"""Render the node agent's DaemonSet: the only pods of ours that access host files."""

from __future__ import annotations

from deploy.manifests.model import LINUX, NAME, Object, build_labels, new_object
from deploy.manifests.pods import render_pull_secrets
from mirror.agent.events import EVENT_QUEUE
from mirror.agent.reconcile import ENABLED_MARKER

AGENT_NAME = f"{NAME}-node-agent"
# the ledger is there too: removing the mirror's namespace removes neither
SYSTEM_NAMESPACE = "kube-system"
NODE_DEFAULTS_MAP = f"{NAME}-node-orders"
NODE_DEFAULTS_KEY = "orders.json"
CNI_DIR = "/opt/cni/bin"
MICROK8S_CNI_DIR = "/var/snap/microk8s/current"
RECONCILER_NAME = f"{NAME}-keeper"  # also of the ConfigMap that tells agents to reconcile
AGENT_COMMAND = ("python3", "-m", "mirror.agent", "do")
_COMPONENT = "node-agent"


def render_agent_daemon_set(
    image: str, *, microk8s: bool, pull_secret: str | None = None
) -> Object:
    """Render a DaemonSet with one pod on every node, whatever its taints, and without a token.

    The pods use the host's network and mount its /etc and its CNI directory. They are privileged
    because /proc/sys is read-only otherwise; write access to /etc is just as powerful anyway.
    ``pull_secret`` is in kube-system too.
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
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "mirror.agent", "serve", "--cni", cni],
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
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
        "nodeSelector": dict(LINUX),
        "affinity": {"nodeAffinity": _build_node_affinity()},
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
        "containers": [container],
        "volumes": [
            {"name": "etc", "hostPath": {"path": "/etc", "type": "Directory"}},
            {"name": "cni", "hostPath": {"path": cni, "type": "DirectoryOrCreate"}},
            {"name": "orders", "configMap": {"name": NODE_DEFAULTS_MAP, "optional": True}},
            {"name": "keeper", "configMap": {"name": RECONCILER_NAME, "optional": True}},
            {"name": "told", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ],
    }
    spec |= render_pull_secrets(pull_secret)
    labels = build_labels(_COMPONENT)
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}}
    body = new_object("apps/v1", "DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE, component=_COMPONENT)
    return body | {
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": update,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
    }


def _build_node_affinity() -> Object:
    """Keep the agent from virtual nodes, whose taint it tolerates."""
    virtual = {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]}
    terms = [{"matchExpressions": [virtual]}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def build_readiness_command(events_file: str) -> list[str]:
    """The agent's readiness probe: prints queued events and fails once if there are any.

    The kubelet turns the output of a failed probe into an Event, so the agent needs no permission
    to create Events. The pod stays Ready: that takes three failures in a row to change.
    """
    reported = f"{events_file}.said"
    report = f'mv "{events_file}" "{reported}" && cat "{reported}"; exit 1'
    return ["sh", "-c", f'test ! -e "{events_file}" || {{ {report}; }}']
