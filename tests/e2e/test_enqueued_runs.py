"""Enqueued runs on a real control plane: released as the queue says, and always with an end."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from uuid import UUID

import psutil
import psycopg
import pytest

from dev.environment import Environment, Installation
from dev.farm.process import Farm
from tests.e2e.conftest import assert_no_problems
from tests.e2e.run_scenario import WITH_TASKS, Runs, environment_of
from tests.migrated import create_migrated_database

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def installed(environment: Environment) -> Iterator[Installation]:
    """A release whose operator and pods have the task `work`."""
    with Installation(environment, "e2e-runs", values=WITH_TASKS, create_database=create_migrated_database) as running:
        yield running
    assert_no_problems(running)


@pytest.fixture
def runs(installed: Installation, start_farm: Callable[..., Farm]) -> Iterator[Runs]:
    """The release, without runs."""
    made = Runs(installed, start_farm(nodes=1, frozen=True))
    yield made
    made.forget()


def test_a_run_goes_from_pending_to_success_and_its_result_is_read_back(runs: Runs) -> None:
    """The pod also knows its CPU limit, rounded up, as what it may do side by side."""
    runs.declare_queue(resources={"limits": {"cpu": "1500m", "memory": "1Gi"}})
    out = json.loads(runs.installation.b3lb("run", "work", "--wait", "--timeout", "60", "-o", "json"))
    assert (out["state"], out["result"]["attempt"], out["queue"]) == ("SUCCESS", 1, "work")
    assert out["result"]["side_by_side"] == "2"
    (name,) = runs.job_names()
    job = runs.get("job", name.partition("/")[2])
    assert job["metadata"]["ownerReferences"][0]["kind"] == "BBBQueue"
    assert job["metadata"]["labels"]["b3lb.io/run"] == out["id"]
    assert job["spec"]["activeDeadlineSeconds"] == 300


def test_a_killed_pod_is_a_failure_or_is_tried_again_within_thirty_seconds(runs: Runs) -> None:
    runs.declare_queue(retry={"maxRetries": 1, "backoffSeconds": 1})
    run_id = runs.put(seconds=300)
    runs.expect_state(run_id, "STARTED", within=20)
    runs.kill_pod(run_id)
    runs.expect("the second attempt began", lambda: _at(runs, run_id) == ("STARTED", 2), within=30)
    runs.kill_pod(run_id)
    row = runs.expect_state(run_id, "FAILURE", within=30)
    assert row.error == "the pod was killed by signal 9 (exit code 137) (attempt 2, the last one)"
    assert len(runs.job_names()) == 2


def _at(runs: Runs, run_id: UUID) -> tuple[str, int]:
    row = runs.row(run_id)
    return row.state, row.attempts


def test_of_five_that_wait_the_last_one_with_priority_nine_begins_next(runs: Runs) -> None:
    runs.declare_queue(concurrency=1)
    first = runs.put(seconds=6)
    runs.expect_state(first, "STARTED", within=20)
    others = [runs.put() for _ in range(4)]
    last = runs.put(priority=9)
    assert len(runs.job_names()) == 1
    runs.expect("all are over", lambda: all(row.finished_at for row in runs.listed()), within=90)
    rows = sorted(runs.listed(), key=lambda row: str(row.started_at))
    assert [row.id for row in rows] == [first, last, *others]
    for before, after in itertools.pairwise(rows):
        assert str(before.finished_at) <= str(after.started_at)


def test_ten_a_minute_are_never_more(runs: Runs) -> None:
    runs.declare_queue(concurrency=100, rateLimit="10/m")
    for _ in range(5):
        runs.put()
    time.sleep(20)
    with psycopg.connect(runs.installation.database_url) as connection:
        moments = [
            row[0]
            for row in connection.execute(
                "SELECT released_at FROM task_runs WHERE released_at IS NOT NULL ORDER BY released_at"
            )
        ]
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(moments)]
    assert 3 <= len(moments) <= 4
    assert all(5.5 <= gap <= 7.5 for gap in gaps)


def test_an_operator_that_dies_between_row_and_job_or_job_and_note_is_carried_on(runs: Runs) -> None:
    runs.declare_queue(suspend=True)
    never_made, unnoted = runs.put(), runs.put(seconds=2)
    runs.installation.operator.stop()
    release = "UPDATE task_runs SET in_flight = true, attempts = 1, released_at = now() WHERE id = %s"
    with psycopg.connect(runs.installation.database_url) as connection:
        connection.execute(release, (never_made,))
    runs.patch("bbbqueue", "work", {"suspend": False})
    runs.installation.start_operator()
    runs.expect_state(unnoted, "STARTED", within=30)
    runs.installation.operator.stop()
    with psycopg.connect(runs.installation.database_url) as connection:
        connection.execute("UPDATE task_runs SET job_uid = NULL WHERE id = %s AND in_flight", (unnoted,))
    runs.installation.start_operator()
    for run_id in (never_made, unnoted):
        assert runs.expect_state(run_id, "SUCCESS", within=30).attempts == 1
    assert len(runs.job_names()) == 2


def test_revoking_ends_a_waiting_run_at_once_and_takes_the_job_of_one_at_work_away(runs: Runs) -> None:
    runs.declare_queue(concurrency=1)
    working = runs.put(seconds=300)
    runs.expect_state(working, "STARTED", within=20)
    waiting = runs.put()
    runs.installation.b3lb("revoke", str(waiting))
    assert runs.row(waiting).state == "REVOKED"
    runs.installation.b3lb("revoke", str(working))
    assert runs.row(working).state == "REVOKED"
    runs.expect("its Job is gone", lambda: runs.job_names() == [], within=20)
    after = runs.put()
    runs.expect_state(after, "SUCCESS", within=20)


def test_a_deleted_job_is_a_revoked_run(runs: Runs) -> None:
    runs.declare_queue()
    run_id = runs.put(seconds=300)
    runs.expect_state(run_id, "STARTED", within=20)
    runs.installation.kubectl("delete", *runs.job_names(), "--timeout=20s")
    assert runs.expect_state(run_id, "REVOKED", within=15).error == "its Job was deleted"


def test_the_limits_of_time_end_runs_the_soft_one_by_their_own_words_the_hard_one_by_ours(runs: Runs) -> None:
    runs.declare_queue(concurrency=2, softTimeLimitSeconds=2, timeLimitSeconds=30)
    caught = runs.put(seconds=300, catch=True)
    assert runs.expect_state(caught, "SUCCESS", within=20).result["partial"] is True
    runs.patch("bbbqueue", "work", {"softTimeLimitSeconds": 290, "timeLimitSeconds": 300})
    runs.patch("bbbqueue", "work", {"softTimeLimitSeconds": 4, "timeLimitSeconds": 5})
    time.sleep(1)
    stubborn = runs.put(seconds=300, end="stubborn")
    row = runs.expect_state(stubborn, "FAILURE", within=30)
    assert row.error == "the hard time limit of 5 s is over"


def test_purging_a_queue_leaves_only_what_is_at_work(runs: Runs) -> None:
    runs.declare_queue(suspend=True)
    for _ in range(3):
        runs.put()
    assert "3 waiting runs revoked" in runs.installation.b3lb("purge", "work")
    assert {row.state for row in runs.listed()} == {"REVOKED"}


def test_a_killed_pod_of_a_schedule_leaves_a_failure_within_thirty_seconds(runs: Runs) -> None:
    runs.declare(suspend=True)
    runs.start_job()
    runs.expect("a run began", lambda: any(row.state == "STARTED" for row in runs.listed()), within=20)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("b3lb-job" in word for word in words) and environment_of(process).get("B3LB_NAMESPACE") == "e2e-runs":
            process.kill()
    runs.expect("it failed", lambda: {row.state for row in runs.listed()} == {"FAILURE"}, within=30)


def test_memory_beyond_the_limit_is_a_failure_that_says_so(runs: Runs) -> None:
    runs.declare_queue(resources={"limits": {"memory": "200Mi"}})
    row = runs.expect_state(runs.put(end="hog"), "FAILURE", within=30)
    assert row.error == "OOMKilled: the pod used more memory than its limit allows"


def test_a_node_check_more_is_one_tick_in_the_enqueued_run(runs: Runs) -> None:
    runs.declare(suspend=True)
    runs.expect_condition("core", "Ready", "False/Suspended", within=10, of="bbbqueue")
    name = runs.farm.nodes[0].name
    runs.expect_condition(name, "Ready", "True/Responding", within=10)
    runs.patch("bbbqueue", "core", {"suspend": False})
    runs.farm.control.reset_counters()
    out = json.loads(runs.installation.b3lb("run", "check-nodes", "--wait", "--timeout", "40", "-o", "json"))
    assert (out["state"], out["queue"], out["result"]["done"]) == ("SUCCESS", "core", 1)
    assert runs.requests(name) >= 2
