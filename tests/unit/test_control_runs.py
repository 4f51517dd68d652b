"""Documents of runs: what was, is at work and comes next, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from b3lb.db.work import MOST_OPEN, HourEnds, OpenRun, TaskEnds, Work
from b3lb.metrics.queues import TaskTicks, TaskTotal
from b3lb.release import HELD_UNTIL
from b3lb.views.queues import HOURS, history_items
from b3lb.views.runs import run_document
from b3lb_operator.control.runs import active_items, scheduled_items
from b3lb_operator.kinds import QUEUE
from tests.unit.control_desk import RUN, Desk, farm_metrics, items, task_run
from tests.unit.operator_fakes import NOW, key, queue_manifest


@pytest.fixture
async def desk() -> Desk:
    return Desk()


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


@pytest.mark.parametrize(
    ("fields", "job"),
    [
        ({"enqueued": True, "job_name": "b3lb-batch-1"}, "b3lb-batch-1"),
        ({"parent": UUID(int=9), "pod": "b3lb-run-7-1-3-abcde"}, "b3lb-run-7-1"),
    ],
    ids=["several runs in a Job", "a chunk"],
)
def test_a_run_that_shares_its_job_is_shown_with_that_one(fields: dict[str, Any], job: str) -> None:
    assert [item["job"] for item in active_items([open_run(**fields)], {key(job)}, now=NOW)] == [job]


def test_a_run_that_is_held_is_paused_and_names_no_year_in_which_it_begins() -> None:
    held = open_run(state="PENDING", enqueued=True, not_before=HELD_UNTIL)
    (item,) = scheduled_items([], [held], now=NOW)
    assert (item["kind"], item["at"]) == ("paused", None)
    document = run_document(replace(task_run(), not_before=HELD_UNTIL, finished_at=None))
    assert (document["paused"], document["notBefore"]) == (True, None)
    assert run_document(replace(task_run(), not_before=HELD_UNTIL, finished_at=NOW))["paused"] is False
    later = run_document(replace(task_run(), not_before=NOW, finished_at=None))
    assert (later["paused"], later["notBefore"]) == (False, NOW.isoformat())


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
