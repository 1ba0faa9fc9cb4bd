"""Method `nodes`: import the image on each node by a command that reads a tar from its input.

Example: --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

from deploy.delivery import CommandDelivery

DELIVERY = CommandDelivery(
    name="nodes",
    order=10,
    option="--import-command",
    example="--import-command 'ssh {address} sudo ctr -n k8s.io images import -'",
    hint="give a command that imports a tar, with {node} and {address}",
    get_template=lambda options: options.import_command,
)
