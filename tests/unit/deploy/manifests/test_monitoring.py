"""`mirror manifests --monitoring`: the shapes that Prometheus, its operator and Grafana expect."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings

SETTINGS = ClusterSettings(image="pypi-mirror:1", namespace="packages", port=3200, monitoring=True)
DURATION = re.compile(r"\d+[smhd]")


def render(settings: ClusterSettings = SETTINGS) -> dict[str, Any]:
    return {f"{obj['kind']} {obj['metadata']['name']}": obj for obj in render_objects(settings)}


def test_only_monitoring_adds_objects() -> None:
    plain = render(replace(SETTINGS, monitoring=False))
    assert render().keys() - plain.keys() == {
        "ConfigMap pypi-mirror-dashboard",
        "PrometheusRule pypi-mirror",
    }
    assert "annotations" not in plain["Service pypi-mirror"]["metadata"]


def test_the_service_says_where_the_metrics_are() -> None:
    assert render()["Service pypi-mirror"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": "3200",
    }


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    config_map = render()["ConfigMap pypi-mirror-dashboard"]
    assert config_map["metadata"]["namespace"] == "packages"
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config_map["data"]["pypi-mirror.json"])
    assert (dashboard["title"], dashboard["uid"]) == ("Package mirror", "pypi-mirror")
    (variable,) = dashboard["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 8
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["type"] in {"stat", "timeseries"}
        assert [target["refId"] for target in panel["targets"]] == ["A", "B"][
            : len(panel["targets"])
        ]
        assert all(
            target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"]
        )
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "no panel covers another"
    assert max(x for x, _ in cells) < 24


def test_the_rule_is_one_that_the_operator_takes() -> None:
    rule = render()["PrometheusRule pypi-mirror"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["metadata"]["namespace"] == "packages"
    (group,) = rule["spec"]["groups"]
    assert group["name"] == "pypi-mirror"
    names = [alert["alert"] for alert in group["rules"]]
    assert "PypiMirrorDown" in names
    assert "PypiMirrorUploadsLost" in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("number", range(6))
def test_every_alert_says_what_and_which_command(number: int) -> None:
    rules = render()["PrometheusRule pypi-mirror"]["spec"]["groups"][0]["rules"]
    assert len(rules) == 6
    alert = rules[number]
    assert alert.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert DURATION.fullmatch(alert["for"])
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"].keys() == {"summary", "description"}
    assert "`mirror " in alert["annotations"]["description"]
