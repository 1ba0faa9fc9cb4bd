"""The mirror's record, which whoever may edit the mirror's namespace can change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.manifests.record import MirrorRecord, parse_record, render_record
from mirror.core.errors import RefusedError

RECORD = MirrorRecord(
    cluster_ip="10.0.0.1",
    port=3142,
    image="m:1",
    settings={
        "size": "5Gi",
        "node": None,
        "node_port": 30141,
        "deny": ["evil"],
        "monitoring": True,
    },
    published=("shop",),
)


def test_what_was_stored_is_read() -> None:
    assert parse_record(render_record("m", RECORD), "m") == RECORD


def test_the_record_of_version_0_1_0_is_read() -> None:
    text = '{"cluster_ip": "10.0.0.1", "port": 3141, "image": "m:1", "published": ["shop"]}'
    config_map = {"metadata": {"name": "pypi-mirror-record"}, "data": {"record.json": text}}
    assert parse_record(config_map, "m").published == ("shop",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cluster_ip", "10.0.0.1$(id)"),
        ("port", "80/;id"),
        ("port", True),
        ("port", 0),
        ("port", 65536),
        ("image", {"x": 1}),
        ("published", [1]),
        ("settings", []),
        ("settings", {"namespace": "kube-system"}),
        ("settings", {"image": "evil"}),
        ("settings", {"cluster_ip": "10.0.0.2"}),
        ("settings", {"unknown": "x"}),
        ("settings", {"size": {"x": 1}}),
        ("settings", {"deny": [1]}),
        ("settings", {"size": 7}),
        ("unknown", "x"),
    ],
)
def test_what_the_mirror_never_records_is_refused(field: str, value: Any) -> None:
    config_map = render_record("m", RECORD)
    document = {**json.loads(config_map["data"]["record.json"]), field: value}
    config_map["data"]["record.json"] = json.dumps(document)
    with pytest.raises(RefusedError, match="cannot read the mirror's record") as error:
        parse_record(config_map, "m")
    assert "restore it" in error.value.next_step
