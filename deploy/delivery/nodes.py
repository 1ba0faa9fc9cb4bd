"""Import the image on each node by a command of the user that reads a tar from standard input.

Example: --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

from deploy.delivery import CommandDelivery
from deploy.image_transfer import CommandOption

OPTION = CommandOption(
    name="--import-command",
    example="--import-command 'ssh {address} sudo ctr -n k8s.io images import -'",
)
DELIVERY = CommandDelivery(
    name="nodes",
    order=10,
    requirement=(
        f"give a command that imports a tar, with {{node}} and {{address}}: {OPTION.example}"
    ),
    option=OPTION,
    get_template=lambda options: options.import_command,
)
