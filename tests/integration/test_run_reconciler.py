"""The operator's way with enqueued runs, on real rows and a fake API server: one Job per attempt, always an end."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.task_attempts import begin_attempt
from b3lb.db.task_queue import revoke
from b3lb.db.workflows import enqueue_workflow
from b3lb.release import RunCounts
from b3lb.workflows import parse_workflow
from b3lb_operator.kinds import JOB, QUEUE, Key, Manifest
from b3lb_operator.kube import ForbiddenError, RefusedError, UnavailableError
from b3lb_operator.manifests.cronjob import RunIdentity, run_job_name
from b3lb_operator.reconcilers.releases import IDLE_SECONDS, RECHECK_SECONDS
from b3lb_operator.reconcilers.runs import RETRY_SECONDS
from tests.integration.run_stage import RunStage
from tests.unit.operator_fakes import NAMESPACE, manifest_of

pytestmark = pytest.mark.integration

SCALING: dict[str, Any] = {"schedule": None, "autoscaling": {"minReplicas": 3, "maxReplicas": 10}}


@pytest.fixture
def fixture(engine: sa.Engine) -> RunStage:
    return RunStage(engine)


async def test_looking_twice_makes_one_job_and_ends_nothing(fixture: RunStage) -> None:
    run_id = fixture.put()
    for _ in range(3):
        await fixture.look()
    assert len(fixture.jobs()) == 1
    assert fixture.job(run_id) is not None
    assert (fixture.row(run_id).state, fixture.row(run_id).attempts) == ("PENDING", 1)


async def test_only_as_many_as_the_concurrency_are_at_work(fixture: RunStage) -> None:
    fixture.declare(concurrency=2)
    runs = [fixture.put() for _ in range(4)]
    await fixture.look()
    assert len(fixture.jobs()) == 2
    fixture.end(runs[0])
    await fixture.look()
    assert [fixture.job(run_id) is not None for run_id in runs] == [True, True, True, False]


async def test_a_job_that_was_made_although_the_answer_was_lost_is_taken_over(fixture: RunStage) -> None:
    run_id = fixture.put()
    create = fixture.kube._create

    def made_but_silent(path: str, body: Manifest) -> Manifest:
        create(path, body)
        raise UnavailableError("the answer is lost")

    fixture.kube._create = made_but_silent  # type: ignore[method-assign]  # the fault of the test
    await fixture.look()
    fixture.kube._create = create  # type: ignore[method-assign]  # back
    fixture.start()
    await fixture.look()
    assert len(fixture.jobs()) == 1
    assert fixture.row(run_id).attempts == 1
    fixture.remove(run_id)
    await fixture.look()
    assert (fixture.row(run_id).state, fixture.row(run_id).error) == ("REVOKED", "its Job was deleted")


async def test_somebody_elses_job_of_that_name_is_never_taken(fixture: RunStage) -> None:
    run_id = fixture.put()
    name = run_job_name(RunIdentity(run_id, 1))
    fixture.kube.put(JOB, manifest_of(JOB, name))
    await fixture.look()
    await fixture.look()
    assert fixture.row(run_id).state == "FAILURE"
    assert "that is not this queue's" in str(fixture.row(run_id).error)


async def test_a_killed_pod_is_tried_again_after_a_pause_and_then_has_failed(fixture: RunStage) -> None:
    fixture.declare(retry={"maxRetries": 1, "backoffSeconds": 1})
    run_id = fixture.put()
    await fixture.look()
    fixture.fail(run_id)
    assert await fixture.look() == RECHECK_SECONDS
    assert fixture.row(run_id).state == "RETRY"
    assert 0 < await fixture.look() <= 1.0
    with fixture.engine.begin() as connection:
        connection.execute(sa.text("UPDATE task_runs SET not_before = now()"))
    await fixture.look()
    fixture.fail(run_id, attempt=2)
    await fixture.look()
    assert fixture.row(run_id).state == "FAILURE"
    assert "attempt 2, the last one" in str(fixture.row(run_id).error)


async def test_what_the_pod_noted_itself_stands_although_its_job_failed(fixture: RunStage) -> None:
    run_id = fixture.put()
    await fixture.look()
    fixture.end(run_id)
    fixture.fail(run_id)
    await fixture.look()
    assert fixture.row(run_id).state == "SUCCESS"


async def test_the_job_of_a_revoked_run_is_deleted_and_its_place_is_free_only_when_it_is_gone(
    fixture: RunStage,
) -> None:
    first, second = fixture.put(), fixture.put()
    await fixture.look()
    with transaction(fixture.engine, timeout_seconds=10) as connection:
        revoke(connection, NAMESPACE, first, why="by hand")
    fixture.kube.failure = lambda method, _path: UnavailableError("later") if method == "DELETE" else None
    await fixture.look()
    assert fixture.job(second) is None
    fixture.remove(first)
    await fixture.look()
    await fixture.look()
    assert fixture.job(second) is not None


@pytest.mark.parametrize("spec", [{"suspend": True}, {"tasks": ["check-nodes", "nonsense"]}])
async def test_a_queue_that_runs_nothing_releases_nothing(fixture: RunStage, spec: dict[str, Any]) -> None:
    fixture.declare(**spec)
    run_id = fixture.put()
    await fixture.look()
    assert (fixture.jobs(), fixture.row(run_id).attempts) == ([], 0)


async def test_a_refused_job_is_a_failure_and_one_that_a_quota_forbids_waits(fixture: RunStage) -> None:
    run_id = fixture.put()
    fixture.kube.failure = lambda method, _path: ForbiddenError("exceeded quota") if method == "POST" else None
    await fixture.look()
    assert fixture.row(run_id).state == "PENDING"
    fixture.kube.failure = lambda method, _path: RefusedError("no such class") if method == "POST" else None
    await fixture.look()
    assert (fixture.row(run_id).state, fixture.row(run_id).error) == (
        "FAILURE",
        "its Job cannot be made: no such class",
    )


async def test_without_a_database_nothing_happens_and_it_looks_again_soon(fixture: RunStage) -> None:
    fixture.put()
    fixture.database.away = True
    assert await fixture.look() == RETRY_SECONDS
    assert fixture.jobs() == []


async def test_outside_its_window_a_queue_releases_nothing_and_inside_it_does(fixture: RunStage) -> None:
    with fixture.engine.connect() as connection:
        now = connection.execute(sa.text("SELECT now()")).scalar_one()
    hours = [(now + timedelta(hours=number)).strftime("%H:%M") for number in (2, 3)]
    run_id = fixture.put()
    fixture.declare(schedule=None, window={"start": hours[0], "end": hours[1]})
    assert await fixture.look() == IDLE_SECONDS
    assert (fixture.jobs(), fixture.row(run_id).attempts) == ([], 0)
    fixture.declare(schedule=None, window={"start": hours[1], "end": hours[0]})
    await fixture.look()
    assert fixture.job(run_id) is not None
    fixture.declare(schedule=None, window={"start": hours[0], "end": hours[1]})
    await fixture.look()
    assert fixture.job(run_id) is not None


async def test_a_rate_is_kept_across_a_restart_of_the_operator(fixture: RunStage) -> None:
    fixture.declare(concurrency=10, rateLimit="10/m")
    for _ in range(3):
        fixture.put()
    assert 5 < await fixture.look() <= 6
    fixture.start()
    await fixture.look()
    assert len(fixture.jobs()) == 1


async def test_runs_are_claimed_in_batches_of_one_job_each_that_any_operator_makes_the_same(fixture: RunStage) -> None:
    fixture.declare(schedule=None, concurrency=2, batchSize=3)
    runs = [fixture.put() for _ in range(7)]
    fixture.kube.failure = lambda method, _path: UnavailableError("later") if method == "POST" else None
    await fixture.look()
    fixture.kube.failure = lambda _method, _path: None
    fixture.start()
    await fixture.look()
    assert [fixture.job(run_id) is not None for run_id in runs] == [True, False, False, True, False, False, False]
    job = fixture.job(runs[0])
    assert job is not None
    assert job["spec"]["activeDeadlineSeconds"] == 3 * 300
    environment = {
        entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert environment["B3LB_JOB_NAME"] == job["metadata"]["name"]
    fixture.end(runs[0])
    fixture.end(runs[1])
    fixture.fail(runs[0])
    await fixture.look()
    assert [fixture.row(run_id).state for run_id in runs[:3]] == ["SUCCESS", "SUCCESS", "RETRY"]
    assert fixture.row(runs[6]).attempts == 0
    await fixture.look()
    assert fixture.job(runs[6]) is not None


async def test_what_a_batch_died_of_is_no_failure_of_the_runs_that_had_not_begun(fixture: RunStage) -> None:
    fixture.declare(schedule=None, batchSize=2)
    begun, other = fixture.put(), fixture.put()
    await fixture.look()
    with transaction(fixture.engine, timeout_seconds=10) as connection:
        begin_attempt(connection, begun, attempt=1, pod="pod")
    fixture.fail(begun, "DeadlineExceeded")
    await fixture.look()
    assert [fixture.row(run_id).state for run_id in (begun, other)] == ["FAILURE", "RETRY"]


async def test_the_job_of_a_batch_is_deleted_only_when_all_its_runs_are_revoked(fixture: RunStage) -> None:
    fixture.declare(schedule=None, batchSize=2)
    runs = [fixture.put() for _ in range(2)]
    await fixture.look()
    for run_id, deleted in zip(runs, (False, True), strict=True):
        with transaction(fixture.engine, timeout_seconds=10) as connection:
            revoke(connection, NAMESPACE, run_id, why="by hand")
        await fixture.look()
        assert any(method == "DELETE" for method, _, _ in fixture.kube.requests) == deleted


async def test_chunks_have_one_indexed_job_whose_pods_count_against_the_concurrency(fixture: RunStage) -> None:
    fixture.declare(schedule=None, concurrency=4)
    content = {"task": "check-nodes", "items": list(range(10)), "size": 1}
    with transaction(fixture.engine, timeout_seconds=10) as connection:
        run_id = enqueue_workflow(
            connection, namespace=NAMESPACE, workflow=parse_workflow({"chunks": content}), queues=["core"] * 10
        )
    other = fixture.put()
    await fixture.look()
    job = fixture.job(run_id)
    assert job is not None
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (10, 4, "Indexed")
    assert (spec["backoffLimitPerIndex"], "backoffLimit" in spec) == (3, False)
    assert fixture.job(other) is None
    fixture.fail(run_id, "FailedIndexes")
    await fixture.look()
    assert fixture.row(run_id).state == "FAILURE"
    await fixture.look()
    assert fixture.job(other) is not None


async def test_places_that_came_later_are_not_counted_as_taken_by_chunks(fixture: RunStage) -> None:
    fixture.declare(schedule=None, concurrency=2)
    content = {"task": "check-nodes", "items": list(range(10)), "size": 1}
    with transaction(fixture.engine, timeout_seconds=10) as connection:
        run_id = enqueue_workflow(
            connection, namespace=NAMESPACE, workflow=parse_workflow({"chunks": content}), queues=["core"] * 10
        )
    await fixture.look()
    job = fixture.job(run_id)
    assert job is not None
    fixture.store.observe(JOB, "ADDED", job)
    runs = [fixture.put() for _ in range(3)]
    await fixture.look()
    assert [fixture.job(run) for run in runs] == [None] * 3
    fixture.declare(schedule=None, concurrency=4)
    await fixture.look()
    assert [fixture.job(run) is not None for run in runs] == [True, True, False]


async def test_nothing_to_do_costs_no_request_and_a_look_a_minute(fixture: RunStage) -> None:
    await fixture.look()
    assert await fixture.look() == IDLE_SECONDS
    assert fixture.kube.requests == []


@pytest.mark.parametrize("spec", [{"suspend": True}, {"tasks": ["check-nodes", "nonsense"]}])
async def test_what_only_an_event_can_release_is_not_asked_for_again_and_again(
    fixture: RunStage, spec: dict[str, Any]
) -> None:
    fixture.declare(**spec)
    fixture.put()
    assert await fixture.look() == IDLE_SECONDS


async def test_a_queue_that_scales_itself_works_on_three_to_ten_runs_and_its_spec_stays(engine: sa.Engine) -> None:
    fixture = RunStage(engine, **SCALING)
    before = fixture.kube.object(QUEUE, "core")
    runs = [fixture.put() for _ in range(50)]
    await fixture.look()
    assert len(fixture.jobs()) == 10
    for run_id in runs[:10]:
        fixture.end(run_id)
    await fixture.look()
    assert len(fixture.jobs()) == 20
    assert fixture.kube.object(QUEUE, "core") == before


async def test_with_fewer_runs_than_places_all_are_at_work(engine: sa.Engine) -> None:
    """Those at work count as well: otherwise the last ones would wait for empty places."""
    fixture = RunStage(engine, **SCALING)
    first = [fixture.put() for _ in range(5)]
    await fixture.look()
    second = [fixture.put() for _ in range(2)]
    await fixture.look()
    assert all(fixture.job(run_id) is not None for run_id in (*first, *second))


async def test_the_numbers_are_those_after_the_release_and_are_told_once(fixture: RunStage) -> None:
    key = Key(NAMESPACE, "core")
    assert fixture.reconciler.counts(key) is None
    for _ in range(4):
        fixture.put()
    await fixture.look()
    assert fixture.reconciler.counts(key) == RunCounts(waiting=3, in_flight=1)
    await fixture.look()
    assert fixture.reconciler.counts(key) == RunCounts(waiting=3, in_flight=1)
    assert fixture.told == [key]
    assert fixture.reconciler.counts(Key(NAMESPACE, "other")) == RunCounts()


async def test_the_priority_of_the_queue_stands_in_for_one_that_a_run_does_not_name(fixture: RunStage) -> None:
    fixture.declare(priority=7)
    less, more, own = fixture.put(priority=6), fixture.put(priority=8), fixture.put()
    for expected in (more, own, less):
        await fixture.look()
        assert fixture.job(expected) is not None
        fixture.end(expected)


async def test_twenty_runs_that_fail_together_come_back_over_more_than_five_seconds(engine: sa.Engine) -> None:
    """By the defaults of a queue: up to ten seconds before the first retry, at random."""
    fixture = RunStage(engine, schedule=None, concurrency=20)
    chance = random.Random(7)
    fixture.start(chance=chance.random)
    runs = [fixture.put() for _ in range(20)]
    await fixture.look()
    for run_id in runs:
        fixture.fail(run_id)
    await fixture.look()
    moments = sorted(row.not_before for run_id in runs if (row := fixture.row(run_id)).not_before is not None)
    assert len(moments) == 20
    assert 5 <= (moments[-1] - moments[0]).total_seconds() <= 11
    assert len({moment.replace(microsecond=0) for moment in moments}) >= 5
