"""Run the cache: fetch public pages and files when nginx asks for them."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mirror.cache.scrubber import INTERVAL, Scrubber
from mirror.cache.server import CacheServer, CacheService
from mirror.cache.upstream import UpstreamClient
from mirror.devpi import read_default_upstream

_CONNECTIONS = 32  # kept open to the upstream, for pages and files together


def main(argv: Sequence[str] | None = None, *, scrub_interval: float = INTERVAL) -> int:
    """Serve until SIGTERM or SIGINT. ``scrub_interval`` is in seconds; tests shorten it."""
    parser = argparse.ArgumentParser(prog="mirror.cache", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the cache: DATA/public")
    parser.add_argument("--port", type=int, required=True, help="port on loopback")
    parser.add_argument("--upstream", help="simple index to mirror (default: devpi's own)")
    parser.add_argument("--ca-bundle", help="PEM file of the authorities to trust")
    options = parser.parse_args(argv)
    gc.set_threshold(100_000, 20, 50)  # pages are many small objects without cycles
    upstream = UpstreamClient(
        options.upstream or read_default_upstream(),
        connections=_CONNECTIONS,
        ca_bundle=options.ca_bundle,
    )
    scrubber = Scrubber(options.root.parent, interval=scrub_interval)
    server = CacheServer(options.port, CacheService(options.root, upstream, scrubber))
    scrubber.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
