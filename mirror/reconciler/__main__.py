"""python3 -m mirror.reconciler --page NAME=PATH… --watch NAME=PATH…: restore reverted fixes."""

from __future__ import annotations

import argparse
import sys

from mirror.core.wait import repeat_until_stopped
from mirror.reconciler.api import InClusterClient
from mirror.reconciler.reconcile import ObjectReconciler

_SECONDS = 15.0  # between two reconciliations


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.reconciler")
    parser.add_argument(
        "--page",
        dest="entries",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the ConfigMap of a ledger entry, and the path of its object in the API",
    )
    parser.add_argument(
        "--watch",
        dest="watched",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the same for an object that is only compared: an administrator has to restore it",
    )
    options = parser.parse_args(argv)
    targets = dict(entry.split("=", 1) for entry in options.entries)
    watched = dict(entry.split("=", 1) for entry in options.watched)
    client = InClusterClient.from_environment()
    reconciler = ObjectReconciler(
        client, targets, log=lambda line: print(line, flush=True), watched=watched
    )
    print(f"reconciling {len(targets)} objects, watching {len(watched)}", flush=True)
    repeat_until_stopped(reconciler.reconcile, _SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
