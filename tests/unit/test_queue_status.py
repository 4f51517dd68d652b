"""The status of a BBBQueue: whole dictionaries for each reason, and what its Jobs add up to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.resources import BBBQueueSpec, BBBQueueStatus
from b3lb.resources.reasons import QUEUE_REASONS
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.queue_status import QueueFacts, build_queue_status

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CRON_JOB: dict[str, Any] = {
    "metadata": {"name": "b3lb-core"},
    "status": {"lastScheduleTime": "2026-03-01T11:59:00Z", "lastSuccessfulTime": "2026-03-01T11:58:55Z"},
}


def spec(**fields: Any) -> BBBQueueSpec:
    return BBBQueueSpec.model_validate({"tasks": ["check-nodes"], "schedule": "* * * * *", **fields})


def job(name: str, type_: str | None = None, at: str = "2026-03-01T11:57:00Z", reason: str = "") -> dict[str, Any]:
    """Return a Job with the condition ``type_``, or without any."""
    conditions = [{"type": type_, "status": "True", "lastTransitionTime": at, "reason": reason}] if type_ else []
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def build(old: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"spec": spec(), "generation": 4, "cron_job": CRON_JOB}
    status = build_queue_status(QueueFacts(**{**values, **changes}), old=old or {}, now=NOW)
    BBBQueueStatus.model_validate(status)
    return status


def ready(status: str, reason: str, message: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "Ready",
            "status": status,
            "observedGeneration": 4,
            "lastTransitionTime": "2026-03-01T12:00:00Z",
            "reason": reason,
            "message": message,
        }
    ]


RUNS = 'CronJob b3lb-core runs check-nodes at "* * * * *"'


def test_a_queue_counts_its_jobs() -> None:
    jobs = [
        job("a", "Complete"),
        job("b", "Complete"),
        job("c", "Failed", at="2026-03-01T11:50:00Z", reason="DeadlineExceeded"),
        job("d"),
        {"metadata": {"name": "e"}},
    ]
    assert build(jobs=jobs) == {
        "observedGeneration": 4,
        "active": 2,
        "succeeded": 2,
        "failed": 1,
        "lastScheduleTime": "2026-03-01T11:59:00Z",
        "lastSuccessTime": "2026-03-01T11:58:55Z",
        "conditions": ready("True", "Scheduled", RUNS),
    }


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"block": Block("UnknownTask", "m")}, ready("False", "UnknownTask", "m")),
        ({"block": Block("TaskInOtherQueue", "m")}, ready("False", "TaskInOtherQueue", "m")),
        ({"block": Block("ImageMissing", "m")}, ready("False", "ImageMissing", "m")),
        ({"block": Block("Refused", "m"), "spec": spec(suspend=True)}, ready("False", "Refused", "m")),
        ({"spec": spec(suspend=True)}, ready("False", "Suspended", "no new pods are started: spec.suspend is true")),
    ],
)
def test_a_queue_that_does_not_run_says_why(changes: dict[str, Any], condition: list[dict[str, Any]]) -> None:
    assert build(**changes) == {
        "observedGeneration": 4,
        "active": 0,
        "succeeded": 0,
        "failed": 0,
        "lastScheduleTime": "2026-03-01T11:59:00Z",
        "lastSuccessTime": "2026-03-01T11:58:55Z",
        "conditions": condition,
    }


def test_a_queue_without_cron_job_is_pending() -> None:
    assert build(cron_job=None) == {
        "observedGeneration": 4,
        "active": 0,
        "succeeded": 0,
        "failed": 0,
        "conditions": ready("Unknown", "Pending", "the CronJob is not there yet"),
    }


def test_a_cron_job_that_was_made_anew_does_not_take_the_times_back() -> None:
    fresh = {"metadata": {"name": "b3lb-core"}}
    again = build(build(), cron_job=fresh)
    assert (again["lastScheduleTime"], again["lastSuccessTime"]) == ("2026-03-01T11:59:00Z", "2026-03-01T11:58:55Z")


def test_a_job_made_by_hand_counts_as_success() -> None:
    assert build(jobs=[job("now", "Complete", at="2026-03-01T11:59:59Z")])["lastSuccessTime"] == "2026-03-01T11:59:59Z"


def test_a_time_zone_is_named() -> None:
    status = build(spec=spec(timeZone="Europe/Berlin", tasks=["a", "b"], schedule="15 3 * * *"))
    expected = 'CronJob b3lb-core runs a, b at "15 3 * * *" (Europe/Berlin)'
    assert status["conditions"] == ready("True", "Scheduled", expected)


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        pytest.param(
            [job("old", "Complete", at="2026-03-01T11:00:00Z"), job("new", "Failed", reason="DeadlineExceeded")],
            f"{RUNS}; the last Job, new, failed: DeadlineExceeded",
            id="the last Job failed",
        ),
        pytest.param(
            [job("old", "Failed", at="2026-03-01T11:00:00Z"), job("new", "Complete"), job("running")],
            RUNS,
            id="an earlier Job failed",
        ),
    ],
)
def test_the_failure_of_the_last_job_is_said(jobs: list[dict[str, Any]], message: str) -> None:
    assert build(jobs=jobs)["conditions"] == ready("True", "Scheduled", message)


JOBS = st.lists(
    st.builds(
        job,
        st.sampled_from("abc"),
        st.sampled_from([None, "Complete", "Failed"]),
        at=st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 2)).map(lambda at: at.isoformat() + "Z"),  # noqa: DTZ001
    )
)
FACTS = st.builds(
    QueueFacts,
    spec=st.builds(spec, suspend=st.booleans()),
    generation=st.integers(1, 3),
    block=st.none() | st.just(Block("UnknownTask", "there is no task check-nodse")),
    cron_job=st.none() | st.just(CRON_JOB),
    jobs=JOBS,
)


@given(FACTS, FACTS)
def test_building_again_changes_nothing_and_every_reason_is_in_the_reference(
    before: QueueFacts, now: QueueFacts
) -> None:
    old = build_queue_status(before, old={}, now=NOW)
    once = build_queue_status(now, old=old, now=NOW)
    assert build_queue_status(now, old=once, now=NOW) == once
    explained = {(meaning.condition, meaning.status, meaning.reason) for meaning in QUEUE_REASONS}
    assert {(entry["type"], entry["status"], entry["reason"]) for entry in once["conditions"]} <= explained
