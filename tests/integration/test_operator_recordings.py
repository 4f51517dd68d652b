"""Recordings with the real operator: shown and planned within seconds, steered by edits, and nothing repeats."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.db.node_states import notify
from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    OperatorCluster,
    bbb_cluster,
    bbb_queue,
    bbb_record_profile,
    bbb_secret,
    bbb_tenant,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

RECORD_ID = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1554230749920"


@pytest.fixture(scope="module")
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorCluster]:
    """A farm with a tenant, a profile and a queue that renders nothing, for it is suspended."""
    directory = tmp_path_factory.mktemp("operator-recordings")
    with OperatorCluster(plane_with_definitions, postgres_server, directory) as found:
        queue = bbb_queue("record", tasks=["render-record"])
        del queue["spec"]["schedule"]
        found.apply(
            bbb_cluster(), bbb_tenant(holdDays=14), bbb_secret(holdDays=7), bbb_record_profile(default=True), queue
        )
        found.expect_condition("bbbsecret", "uni-001", "True/Accepted", type_="Accepted", within=15)
        yield found


def upload(cluster: OperatorCluster, record_id: str = RECORD_ID) -> None:
    """Do what the end point does at the end of an upload."""
    with cluster.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO record_sets (namespace, record_id, meeting_id, secret_id, tenant_slug, sub_id, ended_at, "
                "install_id, archive_key) SELECT namespace, :record_id, 'UNI-001-x', id, 'UNI', 1, now(), "
                "gen_random_uuid(), 'archive' FROM secrets WHERE name = 'uni-001'"
            ),
            {"record_id": record_id},
        )
        notify(connection, cluster.namespace)


def phase(cluster: OperatorCluster, name: str = RECORD_ID) -> str:
    return str(cluster.get("bbbrecording", name).get("status", {}).get("phase", ""))


def rows(cluster: OperatorCluster, statement: str) -> list[tuple[Any, ...]]:
    with cluster.engine.begin() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


def versions(cluster: OperatorCluster) -> Any:
    items = json.loads(cluster.kubectl("get", "bbbrecordings", "-o", "json"))["items"]
    found = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
    tables = ("record_sets", "records", "task_runs")
    return found, [rows(cluster, f"SELECT id, xmin::text FROM {table} ORDER BY id") for table in tables]  # noqa: S608 - tables of ours


def test_an_upload_becomes_an_object_and_a_run_within_five_seconds_and_a_restart_writes_nothing(
    cluster: OperatorCluster,
) -> None:
    assert rows(cluster, "SELECT t.hold_days, s.hold_days FROM tenants t, secrets s") == [(14, 7)]
    upload(cluster)
    cluster.expect("it is shown", lambda: phase(cluster) == "Pending", within=5)
    assert rows(cluster, "SELECT task, queue, tenant, state FROM task_runs") == [
        ("render-record", "record", "UNI", "PENDING")
    ]
    status = cluster.get("bbbrecording", RECORD_ID)["status"]
    assert status["message"] == "BBBQueue record is suspended"
    header, line = cluster.kubectl("get", "bbbrecordings").splitlines()
    assert header.split() == ["NAME", "PHASE", "PROGRESS", "TENANT", "POSITION", "REASON", "EXPIRES", "AT", "AGE"]
    assert line.split()[1:6] == ["Pending", "0", "UNI", "1", "Waiting"]
    cluster.expect("told", lambda: (RECORD_ID, "RecordingUploaded") in cluster.events(), within=5)
    before, events = versions(cluster), cluster.events()
    cluster.process.stop()
    cluster.start()
    time.sleep(4)
    assert (versions(cluster), cluster.events()) == (before, events)


def test_edits_reach_the_rows_and_what_cannot_be_is_refused(cluster: OperatorCluster) -> None:
    cluster.patch("bbbrecording", RECORD_ID, {"spec": {"priority": 9, "paused": True}})
    cluster.expect("paused", lambda: phase(cluster) == "Paused", within=5)
    assert rows(cluster, "SELECT priority, extract(year FROM not_before)::int FROM task_runs") == [(9, 9000)]
    cluster.patch("bbbrecording", RECORD_ID, {"spec": {"paused": False, "cancel": True}})
    cluster.expect("cancelled", lambda: phase(cluster) == "Cancelled", within=5)
    patch = json.dumps({"spec": {"retry": 1}})
    answer = cluster.kubectl("patch", "bbbrecording", RECORD_ID, "--type=merge", f"--patch={patch}", check=False)
    assert "patched" not in answer
    cluster.patch("bbbrecording", RECORD_ID, {"spec": {"retry": 1, "cancel": False}})
    cluster.expect("again", lambda: phase(cluster) == "Pending", within=5)
    states = rows(cluster, "SELECT state FROM task_runs ORDER BY state")
    assert states == [("PENDING",), ("REVOKED",)]


def test_a_deletion_cancels_and_keeps_the_media_and_the_object_stays_away(cluster: OperatorCluster) -> None:
    cluster.kubectl("delete", "bbbrecording", RECORD_ID, "--timeout=10s")
    cluster.expect("cancelled", lambda: rows(cluster, "SELECT reason FROM record_sets") == [("Cancelled",)], within=5)
    time.sleep(2)
    assert cluster.get("bbbrecording", RECORD_ID) == {}
    assert rows(cluster, "SELECT archive_key, dismissed FROM record_sets") == [("archive", True)]
    again = {
        "apiVersion": "b3lb.io/v1alpha1",
        "kind": "BBBRecording",
        "metadata": {"name": RECORD_ID},
        "spec": {"retry": 2},
    }
    cluster.apply(again)
    cluster.expect("it is made anew", lambda: phase(cluster) == "Pending", within=5)


def test_an_object_of_nothing_goes_and_nothing_went_wrong(cluster: OperatorCluster) -> None:
    cluster.apply({"apiVersion": "b3lb.io/v1alpha1", "kind": "BBBRecording", "metadata": {"name": "nobody"}})
    cluster.expect("it is gone", lambda: cluster.get("bbbrecording", "nobody") == {}, within=5)
    assert cluster.problems() == []
