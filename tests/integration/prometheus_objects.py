"""The chart's objects for the Prometheus Operator, and what that makes of them for Prometheus."""

from __future__ import annotations

from typing import Any

import yaml

from dev.helm import CHART, Helm


def rendered(helm: Helm, namespace: str) -> dict[str, dict[str, Any]]:
    """Return ServiceMonitor, PrometheusRule and the operator's Service of the chart, by kind."""
    enabled = "serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.alertLabels.team=video"
    text = helm.run("template", "b3lb", str(CHART), f"--namespace={namespace}", "--set", enabled)
    found = [document for document in yaml.safe_load_all(text) if document]
    return {
        item["kind"]: item
        for item in found
        if item["kind"] in {"ServiceMonitor", "PrometheusRule"} or item["metadata"]["name"] == "b3lb-operator"
    }


def scrape_config(monitor: dict[str, Any], service: dict[str, Any], port: int) -> dict[str, Any]:
    """Return what the Prometheus Operator makes of a ServiceMonitor, with the target's labels already written.

    https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Endpoint
    """
    (endpoint,) = monitor["spec"]["endpoints"]
    metadata = service["metadata"]
    labels = {
        "namespace": metadata["namespace"],
        "service": metadata["name"],
        "pod": "operator-0",
        "endpoint": "metrics",
    }
    return {
        "job_name": f"serviceMonitor/{metadata['namespace']}/{monitor['metadata']['name']}/0",
        "honor_labels": endpoint["honorLabels"],
        "metrics_path": endpoint["path"],
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {**labels, "job": metadata["name"]}}],
    }
