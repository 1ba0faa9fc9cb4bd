"""Run the cache: fetch public pages and files when nginx asks for them."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mirror.cache.request_log import RequestLog
from mirror.cache.scrubber import INTERVAL, Scrubber
from mirror.cache.server import CacheServer, raise_file_limit
from mirror.cache.service import CacheService
from mirror.cache.upstream import UpstreamClient
from mirror.cache.upstream_metrics import UpstreamMetrics
from mirror.devpi import read_default_upstream
from mirror.policy import Policy, parse_age, parse_rule
from mirror.upstreams import parse_upstreams


def main(argv: Sequence[str] | None = None, *, scrub_interval: float = INTERVAL) -> int:
    """Serve until SIGTERM or SIGINT. ``scrub_interval`` is in seconds; tests shorten it."""
    parser = argparse.ArgumentParser(prog="mirror.cache", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the cache: DATA/public")
    parser.add_argument("--port", type=int, required=True, help="port on loopback")
    parser.add_argument(
        "--upstream",
        action="append",
        default=[],
        help="simple index to mirror: URL, NAME=URL or default (devpi's own)",
    )
    parser.add_argument(
        "--pin", action="append", default=[], help="PROJECT=UPSTREAM: it comes from there only"
    )
    parser.add_argument("--min-age", default="0", help="hide files uploaded later than this ago")
    for name in ("--allow", "--deny"):
        parser.add_argument(name, action="append", default=[], help="NAME, pattern or NAME==1.0")
    parser.add_argument("--requests", type=Path, help="log of nginx, whose requests are counted")
    parser.add_argument("--ca-bundle", help="PEM file of authorities to trust, too")
    options = parser.parse_args(argv)
    gc.set_threshold(100_000, 20, 50)  # pages are many small objects without cycles
    raise_file_limit()
    scrubber = Scrubber(options.root.parent, interval=scrub_interval)
    upstreams, pins = parse_upstreams(options.upstream, options.pin)
    policy = Policy(
        min_age=parse_age(options.min_age),
        allow=tuple(map(parse_rule, options.allow)),
        deny=tuple(map(parse_rule, options.deny)),
    )
    metrics = UpstreamMetrics()
    clients = [
        UpstreamClient(
            upstream.url or read_default_upstream(),
            name=upstream.name,
            ca_bundle=options.ca_bundle,
            metrics=metrics,
        )
        for upstream in upstreams
    ]

    def create_service() -> CacheService:
        log = RequestLog(options.requests)
        return CacheService(options.root, clients, scrubber, log, pins=pins, policy=policy)

    asyncio.run(_serve(create_service, options.port, scrubber))
    return 0


async def _serve(create_service: Callable[[], CacheService], port: int, scrubber: Scrubber) -> None:
    service = create_service()
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
