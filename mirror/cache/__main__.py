"""Run the cache: fetch public pages and files when nginx asks for them."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from mirror.cache.request_log import RequestLog
from mirror.cache.scrubber import INTERVAL, Scrubber
from mirror.cache.server import CacheServer, raise_file_limit
from mirror.cache.service import CacheService
from mirror.cache.upstream import UpstreamClient
from mirror.devpi import read_default_upstream


def main(argv: Sequence[str] | None = None, *, scrub_interval: float = INTERVAL) -> int:
    """Serve until SIGTERM or SIGINT. ``scrub_interval`` is in seconds; tests shorten it."""
    parser = argparse.ArgumentParser(prog="mirror.cache", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the cache: DATA/public")
    parser.add_argument("--port", type=int, required=True, help="port on loopback")
    parser.add_argument("--upstream", help="simple index to mirror (default: devpi's own)")
    parser.add_argument("--requests", type=Path, help="log of nginx, whose requests are counted")
    parser.add_argument("--ca-bundle", help="PEM file of authorities to trust, too")
    options = parser.parse_args(argv)
    gc.set_threshold(100_000, 20, 50)  # pages are many small objects without cycles
    raise_file_limit()
    scrubber = Scrubber(options.root.parent, interval=scrub_interval)
    upstream = UpstreamClient(
        options.upstream or read_default_upstream(), ca_bundle=options.ca_bundle
    )
    request_log = RequestLog(options.requests)
    asyncio.run(_serve(options.root, options.port, upstream, scrubber, request_log))
    return 0


async def _serve(
    root: Path, port: int, upstream: UpstreamClient, scrubber: Scrubber, request_log: RequestLog
) -> None:
    service = CacheService(root, upstream, scrubber, request_log)
    server = CacheServer(service, port)
    await server.start()
    watch = asyncio.create_task(service.watch_requests())
    scrubber.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    watch.cancel()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
