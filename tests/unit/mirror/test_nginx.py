"""The proxy's configuration, location by location."""

from __future__ import annotations

import re
from pathlib import PurePath

from mirror.nginx import render_config

CONFIG = render_config(
    listen="127.0.0.1:3141",
    devpi_port=3142,
    cache_port=3144,
    data=PurePath("/data"),
    scratch=PurePath("/tmp"),
    health="127.0.0.1:3143",
)


def find_blocks(text: str) -> list[str]:
    """Return the location blocks, each with its body."""
    return re.findall(r"location [^\n]*\{\n.*?\n        \}", text, re.DOTALL)


def test_every_location_of_the_cache_gets_no_body_and_no_client_headers() -> None:
    blocks = [block for block in find_blocks(CONFIG) if "proxy_pass http://public" in block]
    assert len(blocks) >= 4
    for block in blocks:
        assert "proxy_pass_request_body off;" in block
        assert 'proxy_set_header Content-Length "";' in block
        assert "proxy_pass_request_headers off;" in block


def test_probes_of_the_kubelet_send_no_body() -> None:
    health = CONFIG[CONFIG.index("listen 127.0.0.1:3143") :].partition("server {")[0]
    assert "proxy_pass_request_body off;" in health
    assert 'proxy_set_header Content-Length "";' in health


def test_stored_files_are_internal() -> None:
    blocks = [block for block in find_blocks(CONFIG) if "/+held/" in block.partition("{")[0]]
    assert len(blocks) == 3
    assert all("internal;" in block for block in blocks)
