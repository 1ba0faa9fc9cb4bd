"""python3 -m mirror.reconciler --page NAME=PATH…: look at what is kept, again and again."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from mirror.reconciler.api import InClusterClient
from mirror.reconciler.reconcile import ObjectReconciler

_SECONDS = 15.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.reconciler")
    parser.add_argument("--page", action="append", default=[], metavar="NAME=PATH")
    given = parser.parse_args(argv)
    targets = dict(one.split("=", 1) for one in given.page)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    keeper = ObjectReconciler(
        InClusterClient.from_environment(), targets, log=lambda line: print(line, flush=True)
    )
    print(f"keeping {len(targets)} objects", flush=True)
    while not over.is_set():
        keeper.reconcile()
        over.wait(_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
