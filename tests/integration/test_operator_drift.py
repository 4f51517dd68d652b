"""What others do to the objects that the operator makes or applies, where the API server's own answers matter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    OperatorCluster,
    bbb_cluster,
    bbb_queue,
    bbb_secret,
    bbb_tenant,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

DECLARED = "b3lb-queue-core"
POD = "/spec/jobTemplate/spec/template/spec"


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    environment = {"B3LB_OBJECTS": DECLARED}
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, environment=environment) as running:
        yield running
    assert running.problems() == []


def declare(cluster: OperatorCluster, **spec: Any) -> None:
    """Apply the ConfigMap of the queue `core`, as the chart does."""
    text = json.dumps({**bbb_queue(**spec), "metadata": {"name": "core", "labels": {"b3lb.io/part": "x"}}})
    metadata = {"name": DECLARED}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"object.json": text}})


def spec_of(cluster: OperatorCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("bbbqueue", "core").get("spec", {})
    return found


@pytest.mark.parametrize(
    "additions",
    [
        {f"{POD}/hostNetwork": True, f"{POD}/nodeSelector": {"a": "nowhere"}},
        {f"{POD}/initContainers": [{"name": "other", "image": "x"}]},
        {f"{POD}/containers/0/envFrom": [{"secretRef": {"name": "x"}}]},
        {f"{POD}/containers/0/securityContext/runAsUser": 0},
        {"/spec/jobTemplate/spec/suspend": True},
    ],
)
def test_what_others_add_to_the_cron_job_is_undone_and_nothing_is_written_afterwards(
    cluster: OperatorCluster, additions: dict[str, Any]
) -> None:
    cluster.apply(bbb_queue())
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=5)
    before = cluster.get("cronjob", "b3lb-core")
    patch = [{"op": "add", "path": path, "value": value} for path, value in additions.items()]
    cluster.kubectl("patch", "cronjob", "b3lb-core", "--type=json", "-p", json.dumps(patch))
    cluster.expect(
        "the addition is gone", lambda: cluster.get("cronjob", "b3lb-core")["spec"] == before["spec"], within=5
    )
    live = cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"]
    time.sleep(2)
    assert cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"] == live


def test_what_was_added_while_no_operator_ran_is_undone_and_a_restart_alone_changes_nothing(
    cluster: OperatorCluster,
) -> None:
    cluster.apply(bbb_queue(resources={"limits": {"cpu": "0.5", "memory": "1024Mi"}}))
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=5)
    before = cluster.get("cronjob", "b3lb-core")
    cluster.process.stop()
    cluster.start()
    time.sleep(3)
    assert cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    cluster.process.stop()
    patch = [{"op": "add", "path": f"{POD}/hostPID", "value": True}]
    cluster.kubectl("patch", "cronjob", "b3lb-core", "--type=json", "-p", json.dumps(patch))
    cluster.start()
    cluster.expect("it is gone", lambda: cluster.get("cronjob", "b3lb-core")["spec"] == before["spec"], within=5)


def test_a_field_of_the_pods_that_kubernetes_does_not_have_is_a_reason_in_the_api_servers_words(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> None:
    environment = {"B3LB_JOB_TEMPLATE": json.dumps({"affinity": {"nodeAfinity": {"a": 1}}})}
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, environment=environment) as cluster:
        cluster.apply(bbb_queue(suspend=False))
        cluster.expect_condition("bbbqueue", "core", "False/Refused", within=5)
        (condition,) = cluster.get("bbbqueue", "core")["status"]["conditions"]
        assert "nodeAfinity: field not declared in schema" in condition["message"]
        assert "reconciliation failed" not in cluster.log.read_text()


def test_a_declared_field_that_was_edited_stays_and_all_others_follow(cluster: OperatorCluster) -> None:
    declare(cluster, tickSeconds=5)
    cluster.expect("the queue is there", lambda: spec_of(cluster).get("tickSeconds") == 5, within=10)
    cluster.patch("bbbqueue", "core", {"spec": {"tickSeconds": 10}, "metadata": {"labels": {"b3lb.io/part": "mine"}}})
    declare(cluster, tickSeconds=5, maxInFlight=7)
    cluster.process.stop()
    cluster.start()
    cluster.expect("the other one follows", lambda: spec_of(cluster).get("maxInFlight") == 7, within=10)
    live = cluster.get("bbbqueue", "core")
    assert (live["spec"]["tickSeconds"], live["metadata"]["labels"]["b3lb.io/part"]) == (10, "mine")
    cluster.expect("it is told", lambda: ("core", "FieldConflict") in cluster.events(), within=5)


def test_a_task_that_was_taken_out_of_a_declared_queue_stays_out(cluster: OperatorCluster) -> None:
    declare(cluster, tasks=["check-nodes", "update-secrets-lists"])
    cluster.expect("the queue is there", lambda: bool(spec_of(cluster)), within=10)
    cluster.patch("bbbqueue", "core", {"spec": {"tasks": ["check-nodes"]}})
    declare(cluster, tasks=["check-nodes", "update-secrets-lists"], maxInFlight=7)
    cluster.process.stop()
    cluster.start()
    cluster.expect("the other field follows", lambda: spec_of(cluster).get("maxInFlight") == 7, within=10)
    assert spec_of(cluster)["tasks"] == ["check-nodes"]


def test_a_declared_queue_that_was_deleted_is_back_within_five_seconds(cluster: OperatorCluster) -> None:
    declare(cluster)
    cluster.expect("the queue is there", lambda: bool(spec_of(cluster)), within=10)
    cluster.kubectl("delete", "bbbqueue", "core", "--timeout=10s")
    cluster.expect("it is back", lambda: bool(spec_of(cluster)), within=5)


def test_a_deleted_api_secret_comes_back_with_another_value_and_an_event_says_so(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_cluster(), bbb_tenant(), bbb_secret())
    cluster.expect_condition("bbbsecret", "uni-001", "True/Accepted", within=10, type_="Accepted")
    assert ("uni-001", "SecretRegenerated") not in cluster.events()
    cluster.kubectl("delete", "secret", "uni-001-api-secret")
    cluster.expect("it is told", lambda: ("uni-001", "SecretRegenerated") in cluster.events(), within=5)
