"""Render what a monitoring system needs: where metrics are, a dashboard of Grafana, alerts.

The files are in monitoring_files/. Prometheus finds the mirror by the annotations of its Service,
the dashboard is loaded by Grafana's sidecar, the alerts by the Prometheus operator.
"""

from __future__ import annotations

import json
from importlib.resources import files

from deploy.manifests.model import NAME, ClusterSettings, Object, new_object

DASHBOARD_MAP = f"{NAME}-dashboard"

_FILES = files("deploy.manifests") / "monitoring_files"


def render_monitoring(settings: ClusterSettings) -> tuple[Object, ...]:
    """Render the dashboard's ConfigMap and the PrometheusRule."""
    return render_dashboard(settings), render_alerts(settings)


def build_scrape_annotations(settings: ClusterSettings) -> dict[str, str]:
    """Return the annotations with which Prometheus finds the metrics of a Service."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": str(settings.port),
    }


def render_dashboard(settings: ClusterSettings) -> Object:
    """Render the ConfigMap with the dashboard; its label is what Grafana's sidecar looks for."""
    config_map = new_object("v1", "ConfigMap", DASHBOARD_MAP, settings.namespace)
    config_map["metadata"]["labels"]["grafana_dashboard"] = "1"
    return config_map | {"data": {f"{NAME}.json": (_FILES / "dashboard.json").read_text()}}


def render_alerts(settings: ClusterSettings) -> Object:
    """Render the PrometheusRule, an object of the Prometheus operator."""
    rule = new_object("monitoring.coreos.com/v1", "PrometheusRule", NAME, settings.namespace)
    alerts = json.loads((_FILES / "alerts.json").read_text())
    return rule | {"spec": {"groups": [{"name": NAME, "rules": alerts}]}}
