"""Debian's Prometheus scrapes a real operator as the chart's ServiceMonitor says, and alerts by the chart's rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.controlplane import ControlPlane
from dev.farm.process import Farm
from dev.helm import CHART, Helm
from dev.postgres import Postgres
from dev.processes import wait_until
from dev.prometheus import Prometheus
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    bbb_queue,
    bbb_secret,
    bbb_tenant,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path) as running:
        yield running
    assert running.problems() == []


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


def test_prometheus_sees_the_operator_keeps_its_labels_and_is_about_to_alert_of_a_server_that_is_down(
    cluster: OperatorCluster, prometheus: Path, helm_program: Path, tmp_path: Path
) -> None:
    assert prometheus
    objects = rendered(Helm(helm_program, tmp_path), "monitoring")
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [scrape_config(objects["ServiceMonitor"], objects["Service"], cluster.port)],
    }
    rules = {"rules.yaml": yaml.safe_dump(objects["PrometheusRule"]["spec"])}
    with Farm(nodes=1, meetings=1, attendees=3, frozen=True) as farm:
        (node,) = farm.nodes
        farm.stop()
        cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue(), bbb_tenant(), bbb_secret())
        cluster.expect_condition("bbbnode", node.name, "False/Refused", within=10)
    with Prometheus(configuration, tmp_path / "prometheus", rules=rules) as server:
        wanted = 'ALERTS{alertname="B3LBNodeDown"} and on () b3lb_attendees'
        assert wait_until(lambda: bool(server.query(wanted)), timeout=40, interval=0.2)
        (alert,) = server.query(wanted)
        (target,) = server.query("up")
        (attendees,) = server.query("b3lb_attendees")
        (build,) = server.query("b3lb_build_info")
        unwell = [rule for group in server.api("rules")["groups"] for rule in group["rules"] if rule["health"] != "ok"]
    assert alert["metric"] == {
        "__name__": "ALERTS",
        "alertname": "B3LBNodeDown",
        "alertstate": "pending",
        "cluster": "default",
        "namespace": cluster.namespace,
        "node": node.name,
        "severity": "warning",
        "team": "video",
    }
    assert target["value"][1] == "1"
    assert attendees["metric"]["secret"] == "UNI-001"
    assert build["metric"]["namespace"] == "monitoring"
    assert unwell == []
