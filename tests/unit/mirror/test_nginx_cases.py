"""The whole configuration of nginx, as tests/unit/cases/nginx writes it out."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from deploy.manifests.mirror_objects import render_proxy_config
from deploy.manifests.model import ClusterSettings
from mirror.nginx import render_config

CASES = Path(__file__).parents[1] / "cases/nginx"


def render() -> dict[str, str]:
    local = render_config(
        listen="127.0.0.1:3141",
        devpi_port=40001,
        cache_port=40002,
        data=PurePath("/home/ada/data"),
        scratch=PurePath("/home/ada/nginx"),
        user="root",
    )
    cluster = render_proxy_config(ClusterSettings(image="pypi-mirror:1"))
    return {"local": local, "cluster": cluster["data"]["nginx.conf"]}


@pytest.mark.parametrize("name", ["cluster", "local"])
def test_renders_exactly_these_directives(name: str) -> None:
    expected = (CASES / f"{name}.conf").read_text().splitlines()
    assert render()[name].splitlines() == expected
