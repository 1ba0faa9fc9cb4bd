"""`python3 -m mirror.cache`: fetch public pages and files for the front."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from pathlib import Path

from mirror.cache.scrubber import INTERVAL, Scrubber
from mirror.cache.server import CacheServer, CacheService
from mirror.cache.upstream import UpstreamClient
from mirror.devpi import read_default_upstream

_CONNECTIONS = 32  # to the upstream, kept: pages and files at once


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="mirror.cache", description=__doc__)
    parser.add_argument(
        "--root", type=Path, required=True, help="where pages and files go: DATA/public"
    )
    parser.add_argument("--port", type=int, required=True, help="on loopback")
    parser.add_argument("--upstream", help="the simple index to mirror (default: devpi's own)")
    parser.add_argument("--ca-bundle", help="PEM of the authorities to trust")
    parser.add_argument("--scrub-every", type=float, default=INTERVAL, help="seconds")
    words = parser.parse_args()
    gc.set_threshold(100_000, 20, 50)  # pages are many small objects without a cycle
    upstream = UpstreamClient(
        words.upstream or read_default_upstream(),
        connections=_CONNECTIONS,
        ca_bundle=words.ca_bundle,
    )
    scrub = Scrubber(words.root.parent, interval=words.scrub_every)
    server = CacheServer(words.port, CacheService(words.root, upstream, scrub))
    scrub.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
