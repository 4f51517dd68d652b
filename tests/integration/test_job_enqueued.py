"""``b3lb-job --run``: a pod's work on one enqueued run, to every end that it can have."""

import json
import signal
import subprocess
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.task_queue import revoke
from tests.integration.enqueued_runs import PACKAGE, get, let_go, put
from tests.integration.job_runs import NAMESPACE, job, started, wait_for

pytestmark = pytest.mark.integration


def work(engine: sa.Engine, url: str, *, environment: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    """Enqueue, release and run `work`; return exit code and row."""
    run_id = put(engine, NAMESPACE, **arguments)
    ended = attempt(engine, url, run_id, environment=environment)
    return ended.returncode, get(engine, NAMESPACE, run_id), ended


def attempt(
    engine: sa.Engine, url: str, run_id: UUID, *, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    number = let_go(engine, NAMESPACE, run_id)
    more = {"B3LB_ATTEMPT": str(number), "PYTHONPATH": PACKAGE, **(environment or {})}
    return job(url, "--run", str(run_id), **more)


def test_a_run_that_succeeds_leaves_its_result(engine: sa.Engine, database_url: str) -> None:
    code, run, ended = work(engine, database_url)
    expected = {"attempt": 1, "left": True, "side_by_side": None}
    assert (code, run.state, run.result) == (0, "SUCCESS", expected)
    assert (run.pod, run.attempts, run.error) == ("pod-1", 1, None)
    line = json.loads(ended.stderr.splitlines()[-1])
    assert (line["state"], line["run"], line["task"]) == ("SUCCESS", str(run.id), "work")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"end": "permanent"}, (65, "FAILURE", "the archive is damaged")),
        ({"end": "bug"}, (70, "FAILURE", "RuntimeError: token=[redacted]")),
        ({"end": "memory"}, (69, "FAILURE", "out of memory")),
        (
            {"seconds": "geheim"},
            (65, "FAILURE", "the arguments are not valid: seconds: Input should be a valid number"),
        ),
        ({"other": 1}, (65, "FAILURE", "the arguments are not valid: other: Extra inputs are not permitted")),
        ({"end": "transient"}, (75, "RETRY", "the other side is away")),
        ({"task": "gone"}, (65, "FAILURE", "this image has no task gone")),
    ],
    ids=["permanent", "bug", "memory", "type", "extra", "transient", "unknown"],
)
def test_every_fault_has_its_state_its_exit_code_and_one_line(
    engine: sa.Engine, database_url: str, arguments: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    code, state, error = expected
    found, run, ended = work(engine, database_url, **arguments)
    assert (found, run.state) == (code, state)
    assert run.error.startswith(error)
    assert (run.traceback is not None) == (arguments.get("end") == "bug")
    assert "geheim" not in f"{run.error} {run.traceback} {run.result} {ended.stdout} {ended.stderr}"


def test_a_passing_fault_is_tried_again_after_its_countdown_until_it_works(
    engine: sa.Engine, database_url: str
) -> None:
    run_id = put(engine, NAMESPACE, end="transient", countdown=60, recover_at=2)
    assert attempt(engine, database_url, run_id).returncode == 75
    waiting = get(engine, NAMESPACE, run_id)
    assert waiting.not_before is not None
    assert waiting.started_at is not None
    assert 59 <= (waiting.not_before - waiting.started_at).total_seconds() <= 75
    assert attempt(engine, database_url, run_id).returncode == 0
    done = get(engine, NAMESPACE, run_id)
    assert (done.state, done.attempts, done.error) == ("SUCCESS", 2, None)


def test_after_the_last_retry_a_passing_fault_is_a_failure(engine: sa.Engine, database_url: str) -> None:
    code, run, _ = work(engine, database_url, end="transient", environment={"B3LB_MAX_RETRIES": "0"})
    assert (code, run.state) == (75, "FAILURE")
    assert run.error == "the other side is away (attempt 1, the last one)"


def test_the_soft_time_limit_can_be_caught_and_what_is_there_is_saved(engine: sa.Engine, database_url: str) -> None:
    limit = {"B3LB_SOFT_TIME_LIMIT_SECONDS": "1"}
    code, run, _ = work(engine, database_url, seconds=30, catch=True, environment=limit)
    assert (code, run.state, run.result["partial"]) == (0, "SUCCESS", True)
    assert 0.9 <= run.result["seconds"] <= 3


@pytest.mark.parametrize(("catch", "state"), [(True, "SUCCESS"), (False, "FAILURE")])
def test_in_the_middle_of_a_statement_the_soft_time_limit_is_the_same(
    engine: sa.Engine, database_url: str, catch: bool, state: str
) -> None:
    limit = {"B3LB_SOFT_TIME_LIMIT_SECONDS": "1"}
    _, run, _ = work(engine, database_url, statement_seconds=3.0, catch=catch, environment=limit)
    assert (run.state, run.error) == (state, None if catch else "the soft time limit of 1 s is over")


def test_an_uncaught_soft_time_limit_is_a_failure(engine: sa.Engine, database_url: str) -> None:
    code, run, _ = work(engine, database_url, seconds=30, environment={"B3LB_SOFT_TIME_LIMIT_SECONDS": "1"})
    assert (code, run.state, run.error) == (70, "FAILURE", "the soft time limit of 1 s is over")
    assert run.traceback is None


def test_a_revoked_run_and_one_that_does_not_exist_are_not_worked_on(engine: sa.Engine, database_url: str) -> None:
    run_id = put(engine, NAMESPACE)
    let_go(engine, NAMESPACE, run_id)
    with transaction(engine, timeout_seconds=10) as connection:
        revoke(connection, NAMESPACE, run_id, why="by hand")
    for name in (run_id, uuid4()):
        ended = job(database_url, "--run", str(name), PYTHONPATH=PACKAGE)
        assert ended.returncode == 0
        assert "not to be worked on" in ended.stderr
    assert get(engine, NAMESPACE, run_id).state == "REVOKED"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_run_ends_at_once_and_leaves_its_end_to_the_operator(
    engine: sa.Engine, database_url: str, number: signal.Signals, code: int
) -> None:
    run_id = put(engine, NAMESPACE, seconds=30)
    let_go(engine, NAMESPACE, run_id)
    with started(database_url, "--run", str(run_id), PYTHONPATH=PACKAGE) as process:
        wait_for(lambda: get(engine, NAMESPACE, run_id).state == "STARTED", seconds=20)
        process.send_signal(number)
        assert process.wait(5) == code
    assert get(engine, NAMESPACE, run_id).state == "STARTED"


def test_a_task_that_ticks_does_one_tick_and_counts_it_in_the_enqueued_run(
    engine: sa.Engine, database_url: str
) -> None:
    run_id = put(engine, NAMESPACE, queue="core", task="check-nodes")
    number = let_go(engine, NAMESPACE, run_id, queue="core")
    ended = job(database_url, "--run", str(run_id), B3LB_ATTEMPT=str(number), B3LB_QUEUE="core")
    assert ended.returncode == 0, ended.stderr
    run = get(engine, NAMESPACE, run_id)
    assert (run.state, run.result["done"]) == ("SUCCESS", 1)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*), sum(ticks) FROM task_runs")).one() == (1, 1)


def test_a_malformed_id_and_names_beside_it_are_wrong_command_lines(database_url: str) -> None:
    for arguments in (("--run", "x"), ("--run", str(uuid4()), "core"), ("--run", str(uuid4()), "--dry-run")):
        ended = job(database_url, *arguments)
        assert ended.returncode == 2
        assert len(ended.stderr.splitlines()[-1]) < 200


def test_an_added_task_is_listed_and_runs_only_when_it_is_enqueued(database_url: str) -> None:
    listing = job(database_url, "--list", PYTHONPATH=PACKAGE).stdout
    assert ["work", "-", "when", "enqueued"] in [line.split() for line in listing.splitlines()]
    ended = job(database_url, "work", PYTHONPATH=PACKAGE)
    assert (ended.returncode, "b3lb run work" in ended.stderr) == (2, True)
