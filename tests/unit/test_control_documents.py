"""Whole documents as a client gets them, of a small farm, and what is left of them without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from b3lb.db.accounts import AccountedMonth, MetricsText
from b3lb.db.counters import SecretCounters
from b3lb.db.farm_metrics import NodeNumbers
from b3lb.db.work import TaskEnds, Work
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.queues import EnqueuedRuns
from b3lb.metrics.tenants import SecretMetrics
from b3lb.tasks import TASKS, TICKING
from b3lb_jobs.task_table import TABLE
from b3lb_operator.control import farms
from b3lb_operator.kinds import CLUSTER, NODE, QUEUE, TENANT
from b3lb_operator.metrics import Look
from tests.unit.control_desk import RUN, Desk, farm_metrics, items, task_run
from tests.unit.operator_fakes import NOW, cluster_manifest, key, node_manifest, queue_manifest, tenant_manifest
from tests.unit.recording_rows import RECORD_ID, recording


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": f"{reason}.",
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }


async def test_a_queue_is_shown_with_what_waits_and_what_became_of_its_runs(desk: Desk) -> None:
    status = {"conditions": [condition("Ready", "True", "OnDemand")], "lastSuccessTime": "2026-03-01T11:59:00Z"}
    manifest = queue_manifest("record", schedule=None, tasks=["render"], concurrency=4, rateLimit="10/m", priority=3)
    del manifest["spec"]["schedule"]
    desk.store.observe(QUEUE, None, {**manifest, "status": status})
    desk.metrics = farm_metrics(enqueued={key("record"): EnqueuedRuns(waiting=2, active=1)})
    ends: dict[str, Any] = {"succeeded_1h": 1, "failed_1h": 2, "succeeded_24h": 3, "failed_24h": 4}
    desk.work = Work(ends=[TaskEnds(namespace="farm", queue="record", task="render", **ends)])
    assert await items(desk, "/queues") == [
        {
            "namespace": "farm",
            "name": "record",
            "tasks": ["render"],
            "schedule": None,
            "timeZone": None,
            "tickSeconds": None,
            "suspended": False,
            "up": True,
            "ready": "True",
            "reason": "OnDemand",
            "message": "OnDemand.",
            "depth": 2,
            "waiting": 2,
            "missedSlots": 0,
            "active": 1,
            "oldestWaitingSeconds": 0.0,
            "lastSchedule": None,
            "lastSuccess": "2026-03-01T11:59:00+00:00",
            "nextRun": None,
            "concurrency": 4,
            "replicas": 4,
            "rateLimit": "10/m",
            "priority": 3,
            "succeeded1h": 1,
            "failed1h": 2,
            "succeeded24h": 3,
            "failed24h": 4,
        }
    ]
    assert await items(desk, "/active-queues") == [
        {
            "namespace": "farm",
            "queue": "record",
            "tasks": ["render"],
            "consumers": 1,
            "concurrency": 4,
            "suspended": False,
        }
    ]


async def test_a_node_and_its_cluster_are_shown_with_the_last_numbers(desk: Desk) -> None:
    conditions = [condition("Ready", "True", "Responding"), condition("Schedulable", "False", "Cordoned")]
    manifest = node_manifest(state="Cordoned", maxAttendees=100, status={"conditions": conditions})
    desk.store.observe(NODE, None, manifest)
    desk.store.observe(CLUSTER, None, cluster_manifest())
    numbers = NodeNumbers(load=12.5, cpu=2550, meetings=0, attendees=0, polled_at=100.0, meetings_known=0)
    desk.metrics = farm_metrics(nodes={key("one"): numbers})
    (node,) = await items(desk, "/nodes")
    assert node.pop("lastGoodPollSeconds") > 1_000_000
    assert node == {
        "namespace": "farm",
        "name": "one",
        "cluster": "default",
        "host": "one.example.org",
        "state": "Cordoned",
        "ready": "True",
        "readyReason": "Responding",
        "readyMessage": "Responding.",
        "schedulable": "False",
        "schedulableReason": "Cordoned",
        "load": 12.5,
        "cpuPercent": 25.5,
        "meetings": 0,
        "attendees": 0,
        "transitionTime": "2026-03-01T11:00:00Z",
        "safeToTerminate": True,
    }
    assert await items(desk, "/clusters") == [
        {
            "namespace": "farm",
            "name": "default",
            "nodes": 1,
            "nodesReady": 1,
            "nodesSchedulable": 0,
            "meetings": 0,
            "attendees": 0,
            "headroomAttendees": None,
            "recommendedNodes": None,
            "massFailure": False,
        }
    ]


async def test_credentials_in_the_url_of_a_node_are_not_shown(desk: Desk) -> None:
    manifest = node_manifest()
    manifest["spec"] = {"apiUrl": "https://user:word@[2001:db8::1]/bigbluebutton/api", "secretRef": {"name": "x"}}
    desk.store.observe(NODE, None, manifest)
    ((node),) = await items(desk, "/nodes")
    assert node["host"] == "2001:db8::1"
    assert "word" not in str(node)


async def test_a_tenant_is_shown_with_what_its_sub_id_0_sees(desk: Desk) -> None:
    conditions = [condition("Accepted", "True", "Accepted"), condition("LimitReached", "True", "MeetingLimitReached")]
    status = {"conditions": conditions, "secrets": 2, "usage": {"meetings": 9, "attendees": 9}}
    desk.store.observe(TENANT, None, {**tenant_manifest(limits={"meetings": 5}), "status": status})
    rows = [
        SecretMetrics(slug="UNI", sub_id=0, totals=SecretTotals(meetings=5, attendees=40)),
        SecretMetrics(slug="UNI", sub_id=1, totals=SecretTotals(meetings=5, attendees=40)),
    ]
    desk.looks.answer = lambda: Look(desk.metrics, {"farm": rows})
    (tenant,) = await items(desk, "/tenants")
    assert tenant.pop("lastUsed") >= datetime.now(UTC).isoformat()[:10]
    assert tenant == {
        "namespace": "farm",
        "name": "uni",
        "slug": "UNI",
        "enabled": True,
        "accepted": "True",
        "reason": "Accepted",
        "meetings": 5,
        "attendees": 40,
        "attendeeLimit": None,
        "meetingLimit": 5,
        "limitReached": True,
        "secrets": 2,
    }


async def test_a_tenant_was_last_used_when_the_list_of_a_secret_with_meetings_last_changed(desk: Desk) -> None:
    desk.store.observe(TENANT, None, tenant_manifest())
    rows = [
        SecretMetrics(slug="UNI", sub_id=1, counters=SecretCounters(meetings=3), changed_at=NOW),
        SecretMetrics(slug="UNI", sub_id=2, changed_at=NOW + timedelta(days=1)),
    ]
    desk.looks.answer = lambda: Look(desk.metrics, {"farm": rows})
    (tenant,) = await items(desk, "/tenants")
    assert (tenant["lastUsed"], tenant["meetings"]) == (NOW.isoformat(), 0)


async def test_registered_tasks_name_the_queues_that_run_them(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest(tasks=["check-nodes"]))
    _, document = await desk.get("/registered")
    found = {item["task"]: item for item in document["items"]}
    assert set(TASKS) <= found.keys()
    assert found["check-nodes"]["routedTo"] == [{"namespace": "farm", "queue": "core"}]
    assert (found["check-nodes"]["runs"], found["update-statistics"]["runs"]) == ("every tick", "when enqueued")
    assert all(found[task]["description"] for task in TASKS)


def test_the_jobs_tick_the_tasks_that_are_said_to_tick() -> None:
    assert {entry.name for entry in TABLE if entry.ticking} == TICKING


async def test_metrics_accounting_and_meetings_name_those_that_there_are_when_one_is_unknown(desk: Desk) -> None:
    desk.store.observe(TENANT, None, tenant_manifest())
    desk.database.answer = list
    message = "no BBBTenant 'nobody' in farm; there are uni"
    assert await desk.get("/tenants/NOBODY/metrics") == (404, {"message": message})
    assert await desk.get("/accounting?tenant=nobody") == (404, {"message": message})
    desk.database.answer = lambda: None
    message = "no BBBSecret 'uni-009' in farm; there is none at all"
    assert await desk.get("/meetings?secret=uni-009") == (404, {"message": message})
    assert (await desk.get("/meetings"))[0] == 400
    assert (await desk.get("/accounting?month=2026-13"))[0] == 400


async def test_a_tenants_metrics_and_months_are_those_that_were_written(desk: Desk) -> None:
    desk.database.answer = lambda: [MetricsText("b3lb_meetings 1\n", NOW)]
    expected = {"kind": "TenantMetrics", "slug": "UNI", "text": "b3lb_meetings 1\n"}
    assert await desk.get("/tenants/uni/metrics") == (200, expected)
    month = AccountedMonth("UNI", "uni", "Etc/UTC", NOW.date(), NOW, None, 90_000, 60_000, 3, 1, None, NOW)
    desk.database.answer = lambda: [month]
    ((found),) = (await desk.get("/accounting?tenant=UNI&month=2026-03"))[1]["items"]
    assert (found["tenant"], found["participantMinutes"], found["closedAt"]) == ("UNI", 1.5, None)


async def test_without_a_database_what_is_known_is_shown_and_the_rest_is_503(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest())
    desk.store.observe(NODE, None, node_manifest())
    desk.store.observe(TENANT, None, tenant_manifest())
    desk.lose_database()
    for path in ("/queues", "/nodes", "/clusters", "/tenants", "/registered", "/active-queues", "/scheduled"):
        status, document = await desk.get(path)
        assert (path, status, document["databaseUp"], document["asOf"]) == (path, 200, False, None)
    for path in (
        "/active",
        "/stats",
        "/runs",
        f"/runs/{RUN}",
        "/accounting",
        "/meetings?secret=x",
        "/tenants/x/metrics",
    ):
        status, document = await desk.get(path)
        assert (path, status) == (path, 503)
        assert document["message"].startswith("the database cannot be used: connection refused")
    status, document = await desk.get("/overview")
    assert (status, document["databaseUp"], document["active"], len(document["queues"])) == (200, False, [], 1)
    (queue,) = document["queues"]
    assert queue["succeeded24h"] is None


async def test_an_overview_has_what_the_other_documents_have(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest())
    desk.store.observe(NODE, None, node_manifest())
    desk.work = Work(recent=[task_run()])
    desk.database.answer = lambda: [recording()]
    status, document = await desk.get("/overview?namespace=farm")
    assert (status, document.pop("kind"), document.pop("databaseUp")) == (200, "Overview", True)
    names = {"asOf", "ping", "queues", "active", "runs", "stats", "nodes", "clusters", "tenants", "history"}
    assert document.keys() == names | {"recordings"}
    assert [item["recordID"] for item in document["recordings"]] == [RECORD_ID]
    assert document["runs"][0]["id"] == str(RUN)
    assert document["nodes"] == [{**document["nodes"][0], "name": "one"}]


async def test_an_overview_says_that_a_list_in_it_is_cut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        desk.store.observe(NODE, None, node_manifest(name))
    desk.database.answer = list
    assert "truncated" not in (await desk.get("/overview"))[1]
    monkeypatch.setattr(farms, "MOST_ITEMS", 1)
    _, document = await desk.get("/overview")
    assert (document["truncated"], len(document["nodes"])) == (True, 1)


async def test_a_request_is_pending_while_the_queue_carries_it(desk: Desk) -> None:
    manifest = queue_manifest()
    manifest["metadata"]["annotations"] = {f"request.b3lb.io/{RUN}": '{"purge": true}'}
    desk.store.observe(QUEUE, None, manifest)
    expected = {"kind": "Request", "id": str(RUN), "state": "pending", "message": "BBBQueue core has it"}
    assert await desk.get(f"/requests/{RUN}") == (200, {**expected, "revoked": None})
    assert (await desk.get(f"/requests/{UUID(int=1)}"))[0] == 404
