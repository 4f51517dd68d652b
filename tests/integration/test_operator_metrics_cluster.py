"""``/metrics`` of a real operator: queues as the cluster has them, nodes and tenants as the database has them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from b3lb.resources.conditions import format_time
from b3lb_operator.metrics import FRESH_SECONDS
from dev.controlplane import ControlPlane
from dev.farm.process import Farm
from dev.helm import Helm
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
    closed_database,
)
from tests.integration.prometheus_objects import rendered, scrape_config

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

MINUTE = 60
WAITING = 150


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(nodes=1, meetings=2, attendees=3, frozen=True) as running:
        yield running


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path) as running:
        yield running
    assert running.problems() == []


@pytest.fixture
def no_controllers(plane_with_definitions: ControlPlane) -> Iterator[Callable[[], None]]:
    """Return a function that kills the controllers; they are back after the test."""
    yield lambda: plane_with_definitions.kill("kube-controller-manager")
    plane_with_definitions.restart("kube-controller-manager")


def scrape(cluster: OperatorCluster) -> dict[str, float]:
    """Return the series and their values as Prometheus reads them."""
    status, text = cluster.probe("/metrics")
    assert status == http.client.OK
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            assert f"{sample.name}{{{labels}}}" not in found
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def expect(cluster: OperatorCluster, series: str, value: float | None, *, within: float) -> float:
    """Wait until a scrape has a value, None for no such series; return how many seconds it took."""
    return cluster.expect(f"{series} is {value}", lambda: scrape(cluster).get(series) == value, within=within)


def of_queue(cluster: OperatorCluster, name: str) -> str:
    return f'{name}{{namespace="{cluster.namespace}",queue="core"}}'


def succeeded(cluster: OperatorCluster, seconds_ago: float) -> None:
    """Let the core queue's CronJob say that a Job succeeded so long ago."""
    status = {"status": {"lastSuccessfulTime": format_time(datetime.now(UTC) - timedelta(seconds=seconds_ago))}}
    cluster.kubectl("patch", "cronjob", "b3lb-core", "--subresource=status", "--type=merge", "-p", json.dumps(status))


def waiting_jobs(cron_job: dict[str, Any], number: int) -> dict[str, Any]:
    """Return Jobs as ``kubectl create job --from=cronjob/…`` makes them."""
    metadata = cron_job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": metadata["name"], "uid": metadata["uid"]}
    template = cron_job["spec"]["jobTemplate"]
    items = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": f"waiting-{index}",
                "labels": template["metadata"]["labels"],
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": template["spec"],
        }
        for index in range(number)
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def test_a_scrape_tells_of_nodes_tenants_and_the_operator_and_forgets_what_was_deleted(
    cluster: OperatorCluster, farm: Farm
) -> None:
    (node,) = farm.nodes
    labels = f'{{cluster="default",namespace="{cluster.namespace}",node="{node.name}"}}'
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue(), bbb_tenant(), bbb_secret())
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    expect(cluster, f"b3lb_node_meetings{labels}", 2, within=FRESH_SECONDS + 5)
    expect(cluster, 'b3lb_meetings{secret="UNI-001"}', 0, within=FRESH_SECONDS + 5)
    found = scrape(cluster)
    assert found[f"b3lb_node_up{labels}"] == 1
    assert found["b3lb_database_up{}"] == 1
    assert found[of_queue(cluster, "b3lb_worker_up")] == 0
    assert found[of_queue(cluster, "b3lb_queue_suspended")] == 1
    assert found["b3lb_operator_ready{}"] == 1
    assert found['b3lb_operator_api_requests_total{code="200",verb="patch"}'] > 0
    assert found["b3lb_operator_status_patches_total{}"] > 0
    assert 0 <= found["b3lb_operator_loop_lag_seconds{}"] < 5
    cluster.kubectl("annotate", "bbbnode", node.name, "b3lb.io/force-delete=true")
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=5s")
    cluster.kubectl("delete", "bbbsecret", "uni-001", "--timeout=5s")
    expect(cluster, 'b3lb_meetings{secret="UNI-001"}', None, within=FRESH_SECONDS + 5)
    assert node.name not in cluster.probe("/metrics")[1]


def test_without_a_database_every_scrape_is_answered_with_what_is_known_and_its_age(
    cluster: OperatorCluster, postgres_server: Postgres
) -> None:
    cluster.apply(bbb_cluster(), bbb_queue())
    mass_failure = f'b3lb_cluster_mass_failure{{cluster="default",namespace="{cluster.namespace}"}}'
    expect(cluster, mass_failure, 0, within=FRESH_SECONDS + 5)
    with closed_database(cluster, postgres_server):
        expect(cluster, "b3lb_database_up{}", 0, within=FRESH_SECONDS + 5)
        time.sleep(2)
        found = scrape(cluster)
        assert found["b3lb_snapshot_age_seconds{}"] >= 2
        assert found[mass_failure] == 0
        assert found[of_queue(cluster, "b3lb_queue_suspended")] == 1
        assert found["b3lb_operator_ready{}"] == 0


def test_150_waiting_jobs_are_a_queue_length_of_150(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_cluster(), bbb_queue())
    cluster.expect("the CronJob is there", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=10)
    jobs = waiting_jobs(cluster.get("cronjob", "b3lb-core"), WAITING)
    cluster.kubectl("create", "-f", "-", input=json.dumps(jobs))
    expect(cluster, of_queue(cluster, "b3lb_queue_length"), WAITING, within=FRESH_SECONDS + 15)
    assert scrape(cluster)[of_queue(cluster, "b3lb_queue_oldest_waiting_seconds")] > 0
    cluster.kubectl("delete", "jobs", "--all", "--wait=false")
    expect(cluster, of_queue(cluster, "b3lb_queue_length"), 0, within=60)


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
    with Farm(nodes=1, meetings=1, attendees=3, frozen=True) as gone:
        (node,) = gone.nodes
        gone.stop()
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


def test_without_a_cronjob_controller_the_worker_is_down_within_three_periods_and_slots_are_missed(
    cluster: OperatorCluster, no_controllers: Callable[[], None]
) -> None:
    cluster.apply(bbb_cluster(), bbb_queue(suspend=False))
    cluster.expect("the CronJob is there", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=10)
    age = 2.5 * MINUTE
    succeeded(cluster, age)
    expect(cluster, of_queue(cluster, "b3lb_worker_up"), 1, within=FRESH_SECONDS + 5)
    no_controllers()
    expect(cluster, of_queue(cluster, "b3lb_worker_up"), 0, within=3 * MINUTE - age + FRESH_SECONDS + 5)
    missed = of_queue(cluster, "b3lb_queue_missed_slots")
    cluster.expect("a slot is missed", lambda: scrape(cluster)[missed] >= 1, within=2 * MINUTE)
    assert scrape(cluster)[of_queue(cluster, "b3lb_queue_length")] >= 1
