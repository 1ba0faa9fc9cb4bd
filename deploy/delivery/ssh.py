"""Import the image on each node over ssh, with the import command that fits the node.

Example: --ssh 'ssh -o BatchMode=yes admin@{address}'.
"""

from __future__ import annotations

from deploy.cluster.client import Object
from deploy.delivery import CommandDelivery

_CONTAINERD = ("ctr", "-n", "k8s.io", "images", "import", "-")
_MICROK8S = ("microk8s", "ctr", "images", "import", "-")
_K3S = ("k3s", "ctr", "images", "import", "-")


def get_import_command(node: Object) -> tuple[str, ...]:
    """The command that imports a tar into the containerd of this node's kubelet."""
    if node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true":
        return _MICROK8S
    version = node["status"]["nodeInfo"].get("kubeletVersion", "")
    return _K3S if "+k3s" in version else _CONTAINERD


DELIVERY = CommandDelivery(
    name="ssh",
    order=12,
    option="--ssh",
    example="--ssh 'ssh -o BatchMode=yes {address}'",
    hint="give a command that runs the words after it on a node, where sudo asks for no password",
    get_template=lambda options: options.ssh,
    get_arguments=lambda node: ("sudo", "-n", *get_import_command(node)),
)
