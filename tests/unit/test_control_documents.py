"""Whole documents as a client gets them, of a small farm, and what is left of them without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from b3lb.db.accounts import AccountedMonth, MetricsText
from b3lb.db.counters import SecretCounters
from b3lb.db.farm_metrics import NodeNumbers
from b3lb.db.run_history import TaskRun
from b3lb.db.work import MOST_OPEN, HourEnds, OpenRun, TaskEnds, Work
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.queues import EnqueuedRuns, TaskTicks, TaskTotal
from b3lb.metrics.tenants import SecretMetrics
from b3lb.tasks import TASKS, TICKING
from b3lb.views.queues import HOURS, history_items
from b3lb_jobs.task_table import TABLE
from b3lb_operator.control.runs import active_items
from b3lb_operator.kinds import CLUSTER, NODE, QUEUE, TENANT
from b3lb_operator.metrics import Look
from tests.unit.control_desk import Desk, farm_metrics
from tests.unit.operator_fakes import NOW, cluster_manifest, key, node_manifest, queue_manifest, tenant_manifest

RUN = UUID(int=7)


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


def open_run(**fields: Any) -> OpenRun:
    values: dict[str, Any] = {
        "id": RUN,
        "namespace": "farm",
        "queue": "core",
        "task": "check-nodes",
        "state": "STARTED",
        "pod": "b3lb-core-1-abcde",
        "attempts": 1,
        "enqueued": False,
        "priority": None,
        "created_at": NOW,
        "not_before": None,
        "started_at": NOW,
    }
    return OpenRun(**{**values, **fields})


async def items(desk: Desk, path: str) -> list[dict[str, Any]]:
    status, document = await desk.get(path)
    assert status == 200, document
    assert (document["databaseUp"], "truncated" in document) == (True, False)
    found: list[dict[str, Any]] = document["items"]
    return found


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


async def test_runs_at_work_are_shown_with_their_jobs(desk: Desk) -> None:
    desk.work = Work(at_work=[open_run(enqueued=True, attempts=2, pod="x", started_at=datetime.now(UTC))])
    (run,) = await items(desk, "/active")
    assert 0 <= run.pop("seconds") < 10
    assert run.pop("startedAt")
    assert run == {
        "id": str(RUN),
        "namespace": "farm",
        "queue": "core",
        "task": "check-nodes",
        "pod": "x",
        "job": f"b3lb-run-{RUN.hex}-2",
        "attempt": 2,
        "enqueued": True,
    }


def test_a_run_of_a_schedule_whose_job_is_gone_is_not_at_work_for_ever() -> None:
    runs = [open_run()]
    later = NOW + timedelta(hours=2)
    assert [item["job"] for item in active_items(runs, {key("b3lb-core-1")}, now=later)] == ["b3lb-core-1"]
    assert active_items(runs, set(), now=later) == []
    assert len(active_items(runs, set(), now=NOW + timedelta(minutes=59))) == 1


async def test_what_comes_next_is_sorted_by_time_and_says_when_there_is_more(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest("statistics", schedule="0 0 1 1 *", tasks=["update-statistics"]))
    desk.store.observe(QUEUE, None, queue_manifest(suspend=True, priority=8))
    retry = NOW + timedelta(seconds=30)
    waiting = [
        open_run(state="RETRY", not_before=retry, enqueued=True, priority=2),
        open_run(id=UUID(int=8), state="PENDING", enqueued=True, started_at=None),
    ]
    desk.work = Work(waiting=waiting)
    found = await items(desk, "/scheduled")
    assert [(item["kind"], item["id"], item["priority"]) for item in found] == [
        ("waiting", str(UUID(int=8)), 8),
        ("retry", str(RUN), 2),
        ("slot", None, None),
    ]
    assert [item["at"] for item in found][1] == retry.isoformat()
    assert found[2]["tasks"] == ["update-statistics"]
    desk.work = Work(waiting=[waiting[1]] * (MOST_OPEN + 1))
    desk.farms.works._tried_at = None
    assert (await desk.get("/scheduled"))[1]["truncated"] is True


async def test_statistics_join_what_was_ever_counted_with_the_last_day(desk: Desk) -> None:
    desk.metrics = farm_metrics(
        totals=[TaskTotal("farm", "check-nodes", "core", "SUCCESS", 9), TaskTotal("else", "x", "y", "SUCCESS", 1)],
        ticks=[TaskTicks("farm", "check-nodes", "core", [1], 1.0, NOW.timestamp())],
    )
    ends: dict[str, Any] = {
        "succeeded_24h": 5,
        "p50_seconds": 0.25,
        "p95_seconds": 1.0,
        "last_finished_at": NOW - timedelta(hours=1),
    }
    desk.work = Work(ends=[TaskEnds(namespace="farm", queue="core", task="check-nodes", **ends)])
    assert await items(desk, "/stats") == [
        {
            "namespace": "farm",
            "queue": "core",
            "task": "check-nodes",
            "pending": 0,
            "started": 0,
            "success": 9,
            "failure": 0,
            "retry": 0,
            "revoked": 0,
            "succeeded1h": 0,
            "failed1h": 0,
            "succeeded24h": 5,
            "failed24h": 0,
            "p50Seconds": 0.25,
            "p95Seconds": 1.0,
            "lastFinishedAt": NOW.isoformat(),
        }
    ]


def test_a_history_has_an_entry_for_each_of_24_hours_of_the_clock() -> None:
    now = NOW.replace(minute=30)
    task = {"namespace": "farm", "queue": "core", "task": "check-nodes"}
    hours = [
        HourEnds(**task, start=NOW, succeeded=3, failed=1, p50_seconds=0.5),
        HourEnds(**task, start=NOW - timedelta(hours=HOURS), succeeded=9, failed=9, p50_seconds=None),
    ]
    (item,) = history_items(hours, now=now)
    buckets = item.pop("buckets")
    assert item == task
    assert len(buckets) == HOURS
    assert buckets[-1] == {"start": NOW.isoformat(), "succeeded": 3, "failed": 1, "p50Seconds": 0.5}
    assert sum(bucket["succeeded"] for bucket in buckets) == 3
    assert buckets[0]["start"] == (NOW - timedelta(hours=23)).isoformat()


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


async def test_runs_are_chosen_by_state_whatever_its_case_and_an_unknown_one_names_the_others(desk: Desk) -> None:
    desk.store.observe(QUEUE, None, queue_manifest())
    desk.database.answer = lambda: [task_run()]
    status, document = await desk.get("/runs?state=failure&limit=3&queue=core")
    assert (status, document["kind"], document["items"][0]["id"]) == (200, "TaskRunList", str(RUN))
    status, document = await desk.get("/runs?state=lost")
    assert (status, document["message"]) == (
        400,
        "state 'lost' is not known: use one of PENDING, STARTED, SUCCESS, FAILURE, RETRY, REVOKED",
    )
    assert (await desk.get("/runs?limit=0"))[0] == 400
    desk.database.answer = list
    assert await desk.get("/runs?queue=none") == (404, {"message": "there is no BBBQueue 'none': use one of core"})
    assert await desk.get("/runs?task=x") == (404, {"message": "there is no task 'x': use one of check-nodes"})


async def test_one_run_is_found_by_its_id(desk: Desk) -> None:
    desk.database.answer = task_run
    status, document = await desk.get(f"/runs/{RUN}")
    assert (status, document["id"], document["result"]) == (200, str(RUN), {"a": 1})
    desk.database.answer = lambda: None
    assert (await desk.get(f"/runs/{RUN}"))[0] == 404
    assert await desk.get("/runs/last") == (400, {"message": "'last' is not a UUID"})


def task_run() -> TaskRun:
    names: dict[str, Any] = dict.fromkeys(TaskRun.__dataclass_fields__)
    values = {"id": RUN, "namespace": "farm", "state": "SUCCESS", "arguments": {}, "result": {"a": 1}}
    return TaskRun(**{**names, **values, "created_at": NOW})


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
    status, document = await desk.get("/overview?namespace=farm")
    assert (status, document.pop("kind"), document.pop("databaseUp")) == (200, "Overview", True)
    names = {"asOf", "ping", "queues", "active", "runs", "stats", "nodes", "clusters", "tenants", "history"}
    assert document.keys() == names
    assert document["runs"][0]["id"] == str(RUN)
    assert document["nodes"] == [{**document["nodes"][0], "name": "one"}]


async def test_a_request_is_pending_while_the_queue_carries_it(desk: Desk) -> None:
    manifest = queue_manifest()
    manifest["metadata"]["annotations"] = {f"request.b3lb.io/{RUN}": '{"purge": true}'}
    desk.store.observe(QUEUE, None, manifest)
    expected = {"kind": "Request", "id": str(RUN), "state": "pending", "message": "BBBQueue core has it"}
    assert await desk.get(f"/requests/{RUN}") == (200, {**expected, "revoked": None})
    assert (await desk.get(f"/requests/{UUID(int=1)}"))[0] == 404
