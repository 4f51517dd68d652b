"""The status of a BBBQueue: whole dictionaries for each reason, and what its Jobs add up to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.release import RunCounts
from b3lb.resources import BBBQueueSpec, BBBQueueStatus
from b3lb.resources.reasons import QUEUE_REASONS
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.queue_status import QueueFacts, build_queue_status

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CRON_JOB: dict[str, Any] = {
    "metadata": {"name": "b3lb-core"},
    "spec": {"suspend": False},
    "status": {"lastScheduleTime": "2026-03-01T11:59:00Z", "lastSuccessfulTime": "2026-03-01T11:58:55Z"},
}


SELECTOR = "app.kubernetes.io/name=b3lb-job,app.kubernetes.io/instance=b3lb-core"


def spec(**fields: Any) -> BBBQueueSpec:
    return BBBQueueSpec.model_validate({"tasks": ["check-nodes"], "schedule": "* * * * *", **fields})


def job(name: str, type_: str | None = None, at: str = "2026-03-01T11:57:00Z", reason: str = "") -> dict[str, Any]:
    """Return a Job with the condition ``type_``, or without any."""
    conditions = [{"type": type_, "status": "True", "lastTransitionTime": at, "reason": reason}] if type_ else []
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def build(old: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"spec": spec(), "generation": 4, "cron_job": CRON_JOB, "runs": RunCounts()}
    status = build_queue_status(QueueFacts(**{**values, **changes}), queue="core", old=old or {}, now=NOW)
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
        "depth": 0,
        "active": 2,
        "replicas": 1,
        "selector": SELECTOR,
        "succeeded": 2,
        "failed": 1,
        "lastScheduleTime": "2026-03-01T11:59:00Z",
        "nextScheduleTime": "2026-03-01T12:01:00Z",
        "lastSuccessTime": "2026-03-01T11:58:55Z",
        "conditions": ready("True", "Scheduled", RUNS),
    }


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"start": "20:00", "end": "06:00"}, ": waits for its window until 2026-03-01T19:00:00Z"),
        ({"start": "13:00", "end": "06:00"}, ""),
        ({"start": "06:00", "end": "13:00"}, ": waits for its window until 2026-03-02T05:00:00Z"),
    ],
)
def test_a_queue_with_a_window_says_when_it_is_and_until_when_it_waits(window: dict[str, str], words: str) -> None:
    """It is 13:00 in Berlin."""
    status = build(**on_demand(window=window, timeZone="Europe/Berlin"))
    when = f"between {window['start']} and {window['end']} (Europe/Berlin)"
    message = f"render run when they are enqueued, 1 at a time, {when}{words}"
    assert status["conditions"] == ready("True", "OnDemand", message)


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
        "depth": 0,
        "active": 0,
        "replicas": 1,
        "selector": SELECTOR,
        "succeeded": 0,
        "failed": 0,
        "lastScheduleTime": "2026-03-01T11:59:00Z",
        "lastSuccessTime": "2026-03-01T11:58:55Z",
        "conditions": condition,
    }


def on_demand(**fields: Any) -> dict[str, Any]:
    """Return the changes that make a queue run on demand."""
    return {"spec": BBBQueueSpec.model_validate({"tasks": ["render"], **fields}), "cron_job": None}


SCALING = on_demand(autoscaling={"minReplicas": 3, "maxReplicas": 10})


def test_enqueued_runs_with_a_job_are_active_and_what_waits_is_the_depth() -> None:
    # The watch has not shown the second Job yet.
    jobs = [job("run-1"), job("run-3", "Complete"), job("run-4", "Failed")]
    status = build(runs=RunCounts(waiting=7, in_flight=2), run_jobs=jobs, **on_demand(concurrency=2))
    assert (status["depth"], status["active"], status["replicas"]) == (7, 2, 2)
    # What is kept, and failed last, concerns the schedule.
    assert (status["succeeded"], status["failed"]) == (0, 0)
    assert status["conditions"] == ready("True", "OnDemand", "render run when they are enqueued, 2 at a time")


@pytest.mark.parametrize(
    ("waiting", "in_flight", "replicas"), [(0, 0, 3), (4, 0, 4), (50, 0, 10), (40, 10, 10), (2, 6, 8), (0, 2, 3)]
)
def test_a_queue_that_scales_itself_has_as_many_places_as_runs_within_its_limits(
    waiting: int, in_flight: int, replicas: int
) -> None:
    status = build(runs=RunCounts(waiting, in_flight), **SCALING)
    assert status["replicas"] == replicas
    assert status["conditions"][0]["message"] == "render run when they are enqueued, 3 to 10 at a time"


def test_while_the_database_is_unknown_the_numbers_of_its_runs_stay_as_they_were() -> None:
    known = build(runs=RunCounts(50, 0), **SCALING)
    assert build(known, runs=None, **SCALING) == known
    assert {"depth", "replicas"}.isdisjoint(build(runs=None, **SCALING))
    assert build(known, runs=None, **on_demand(concurrency=4))["replicas"] == 4


def test_while_the_database_is_unknown_the_live_jobs_of_runs_are_active() -> None:
    jobs = [job("run-1"), job("run-2"), job("run-3", "Complete"), job("run-4", "Failed")]
    assert build(runs=None, run_jobs=jobs, jobs=[job("a")])["active"] == 3


def test_slots_without_a_job_are_depth_too() -> None:
    late = {**CRON_JOB, "status": {"lastScheduleTime": "2026-03-01T11:56:00Z"}}
    status = build(cron_job=late, runs=RunCounts(waiting=2))
    # 11:57, 11:58 and 11:59; that of 12:00 is not late yet.
    assert status["depth"] == 5
    assert build(cron_job=late, spec=spec(suspend=True))["depth"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": spec(suspend=True)},
        {"block": Block("UnknownTask", "m")},
        {"cron_job": None},
        {"cron_job": {**CRON_JOB, "spec": {"suspend": True}}},
        on_demand(),
    ],
)
def test_a_queue_whose_schedule_starts_nothing_has_no_next_time(changes: dict[str, Any]) -> None:
    assert "nextScheduleTime" not in build(**changes)


def test_the_next_time_is_the_next_slot_in_the_time_zone_of_the_schedule() -> None:
    status = build(spec=spec(tasks=["a"], schedule="15 3 * * *", timeZone="Europe/Berlin"))
    assert status["nextScheduleTime"] == "2026-03-02T02:15:00Z"


def test_a_queue_without_cron_job_is_pending() -> None:
    assert build(cron_job=None) == {
        "observedGeneration": 4,
        "depth": 0,
        "active": 0,
        "replicas": 1,
        "selector": SELECTOR,
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
    ("jobs", "conditions"),
    [
        pytest.param(
            [job("old", "Complete", at="2026-03-01T11:00:00Z"), job("new", "Failed", reason="DeadlineExceeded")],
            ready("False", "JobsFailing", f"the last Job, new, failed: DeadlineExceeded; {RUNS}"),
            id="the last Job failed",
        ),
        pytest.param(
            [job("old", "Failed", at="2026-03-01T11:00:00Z"), job("new", "Complete"), job("running")],
            ready("True", "Scheduled", RUNS),
            id="an earlier Job failed",
        ),
    ],
)
def test_the_failure_of_the_last_job_is_a_reason(jobs: list[dict[str, Any]], conditions: list[dict[str, Any]]) -> None:
    assert build(jobs=jobs)["conditions"] == conditions


def test_a_failed_job_says_what_the_api_server_says_of_it_and_names_missing_secrets() -> None:
    failed = job("new", "Failed", reason="PodFailurePolicy")
    failed["status"]["conditions"][0]["message"] = "Container b3lb-job failed with exit code 78"
    (condition,) = build(jobs=[failed], missing_secrets=["b3lb-database"])["conditions"]
    assert condition["message"] == (
        "the last Job, new, failed: PodFailurePolicy: Container b3lb-job failed with exit code 78; "
        f"Secret b3lb-database does not exist, so no pod can start; {RUNS}"
    )


FIRST = {"metadata": {"name": "b3lb-core", "creationTimestamp": "2026-03-01T11:57:31Z"}, "status": {}}
STUCK = {"metadata": {"name": "b3lb-core-2"}, "status": {"active": 1, "ready": 0}}
SCHEDULED = {"conditions": [{**ready("True", "Scheduled", RUNS)[0], "lastTransitionTime": "2026-03-01T11:50:00Z"}]}


def verdict(*, seconds: int = 0, old: dict[str, Any] | None = None, **changes: Any) -> tuple[str, str]:
    """Return reason and message after so many seconds."""
    values: dict[str, Any] = {"spec": spec(), "generation": 4, "cron_job": FIRST, **changes}
    now = NOW + timedelta(seconds=seconds)
    (condition,) = build_queue_status(
        QueueFacts(**values), queue="core", old=SCHEDULED if old is None else old, now=now
    )["conditions"]
    return condition["reason"], condition["message"]


def test_a_queue_that_runs_every_minute_fails_150_s_after_its_first_chance_without_success() -> None:
    assert verdict(seconds=0, jobs=[STUCK]) == ("Scheduled", RUNS)
    expected = (
        "no Job succeeded so far; the pod of Job b3lb-core-2 does not start: see kubectl describe pods "
        f"-l job-name=b3lb-core-2; {RUNS}"
    )
    assert verdict(seconds=1, jobs=[STUCK]) == ("JobsFailing", expected)
    assert verdict(seconds=1) == ("JobsFailing", f"no Job succeeded so far, and none is there to run; {RUNS}")


def test_it_has_150_s_from_its_last_success() -> None:
    jobs = [job("one", "Complete", at="2026-03-01T12:00:00Z"), STUCK]
    assert verdict(seconds=149, jobs=jobs)[0] == "Scheduled"
    assert verdict(seconds=150, jobs=jobs)[1].startswith("no Job succeeded since 2026-03-01T12:00:00Z; the pod of Job")


def test_it_has_150_s_from_the_end_of_what_kept_it_from_running() -> None:
    suspended = build(cron_job=FIRST, spec=spec(suspend=True))
    begun = build(suspended, cron_job=FIRST)
    assert begun["conditions"][0]["reason"] == "Scheduled"
    assert verdict(seconds=149, old=begun)[0] == "Scheduled"
    assert verdict(seconds=150, old=begun)[0] == "JobsFailing"


def test_while_a_pod_runs_it_is_not_called_failing() -> None:
    running = {**STUCK, "status": {"active": 1, "ready": 1}}
    assert verdict(seconds=3600, jobs=[running])[0] == "Scheduled"


def test_a_queue_that_runs_seldom_fails_by_its_last_job_only() -> None:
    assert verdict(seconds=3600, spec=spec(schedule="15 3 * * *"))[0] == "Scheduled"


def test_a_queue_that_fails_stays_so_until_a_job_succeeds() -> None:
    failing = build_queue_status(
        QueueFacts(spec=spec(), generation=4, cron_job=FIRST, jobs=[STUCK]),
        queue="core",
        old=SCHEDULED,
        now=NOW + timedelta(seconds=2),
    )
    assert verdict(seconds=3, old=failing, jobs=[job("bad", "Failed"), STUCK])[0] == "JobsFailing"
    success = job("good", "Complete", at="2026-03-01T12:01:00Z")
    assert verdict(seconds=61, old=failing, jobs=[job("bad", "Failed"), success]) == ("Scheduled", RUNS)


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
    run_jobs=JOBS,
    runs=st.none() | st.builds(RunCounts, st.integers(0, 30), st.integers(0, 30)),
)


@given(FACTS, FACTS)
def test_building_again_changes_nothing_and_every_reason_is_in_the_reference(
    before: QueueFacts, now: QueueFacts
) -> None:
    old = build_queue_status(before, queue="core", old={}, now=NOW)
    once = build_queue_status(now, queue="core", old=old, now=NOW)
    assert build_queue_status(now, queue="core", old=once, now=NOW) == once
    explained = {(meaning.condition, meaning.status, meaning.reason) for meaning in QUEUE_REASONS}
    assert {(entry["type"], entry["status"], entry["reason"]) for entry in once["conditions"]} <= explained
