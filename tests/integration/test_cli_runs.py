"""``b3lb run``, ``runs``, ``result``, ``revoke`` and ``purge`` on a database: one clear line for whatever is wrong."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.configuration import apply_queues
from b3lb.db.engine import transaction
from b3lb.db.rows import QueueRow
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_runs import TaskState, start
from b3lb_cli import cli
from tests.integration.enqueued_runs import get, let_go

pytestmark = pytest.mark.integration

NAMESPACE = "default"


@pytest.fixture(autouse=True)
def farm(engine: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", database_url)
    monkeypatch.setenv("B3LB_NAMESPACE", NAMESPACE)
    queues = [QueueRow("core", "u1", 1, ("check-nodes",)), QueueRow("record", "u2", 1, ("render",))]
    with transaction(engine, timeout_seconds=10) as connection:
        apply_queues(connection, NAMESPACE, queues, complete=True)


def b3lb(*arguments: str) -> tuple[int, str, str]:
    """Run the command; return exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def enqueued(*options: str, task: str = "render") -> dict[str, Any]:
    code, out, err = b3lb("run", task, *options, "-o", "json")
    assert (code, err) == (0, "")
    answer: dict[str, Any] = json.loads(out)
    return answer


def finish(engine: sa.Engine, run_id: UUID, state: TaskState, **end: Any) -> None:
    attempt = let_go(engine, NAMESPACE, run_id, queue="record")
    with transaction(engine, timeout_seconds=10) as connection:
        begin_attempt(connection, run_id, attempt=attempt, pod="pod-1")
        end_attempt(connection, run_id, attempt=attempt, end=AttemptEnd(state=state, **end))


def test_a_run_is_enqueued_in_the_queue_that_has_its_task() -> None:
    run = enqueued("--priority", "9", "--arguments", '{"set": 7}')
    assert (run["state"], run["queue"], run["task"], run["priority"]) == ("PENDING", "record", "render", 9)
    assert (run["arguments"], run["attempts"], run["enqueued"]) == ({"set": 7}, 0, True)
    code, out, _ = b3lb("result", run["id"])
    assert (code, "PENDING" in out, '{"set": 7}' in out) == (0, True, True)


def test_a_result_is_read_back_for_people_and_for_programs(engine: sa.Engine) -> None:
    run_id = UUID(enqueued()["id"])
    finish(engine, run_id, TaskState.SUCCESS, result={"videos": 2})
    _, out, _ = b3lb("result", str(run_id), "-o", "json")
    answer = json.loads(out)
    assert (answer["state"], answer["result"], answer["pod"]) == ("SUCCESS", {"videos": 2}, "pod-1")
    assert '{"videos": 2}' in b3lb("result", str(run_id))[1]


def test_runs_are_a_table_and_are_chosen_by_queue_task_and_state(engine: sa.Engine) -> None:
    failed = UUID(enqueued()["id"])
    finish(engine, failed, TaskState.FAILURE, error="the disk\x1b[31m is full")
    waiting = enqueued(task="check-nodes")["id"]
    code, out, _ = b3lb("runs")
    lines = out.splitlines()
    assert (code, lines[0].split()[:4]) == (0, ["ID", "TASK", "QUEUE", "STATE"])
    assert [line.split()[0] for line in lines[1:]] == [waiting, str(failed)]
    assert "\x1b" not in out
    for choice in (("--state", "failure"), ("--queue", "record"), ("--task", "render")):
        assert [run["id"] for run in json.loads(b3lb("runs", *choice, "-o", "json")[1])["items"]] == [str(failed)]
    assert b3lb("runs", "--state", "STARTED") == (0, "", "no task runs\n")


def test_revoking_is_told_and_cannot_be_repeated(engine: sa.Engine) -> None:
    run_id = enqueued()["id"]
    code, out, _ = b3lb("revoke", run_id)
    assert (code, "REVOKED" in out) == (0, True)
    assert get(engine, NAMESPACE, UUID(run_id)).error == "revoked by hand"
    assert b3lb("revoke", run_id) == (1, "", f"b3lb: run {run_id} cannot be revoked: it is over: REVOKED\n")


def test_a_run_of_a_schedule_cannot_be_revoked(engine: sa.Engine) -> None:
    run_id = uuid4()
    with transaction(engine, timeout_seconds=10) as connection:
        start(connection, run_id, namespace=NAMESPACE, queue="core", task="check-nodes", pod="p", arguments={})
    code, _, err = b3lb("revoke", str(run_id))
    assert (code, "it was not enqueued" in err) == (1, True)


def test_purging_says_how_many_there_were() -> None:
    for _ in range(3):
        enqueued()
    enqueued(task="check-nodes")
    assert b3lb("purge", "record") == (0, "3 waiting runs revoked\n", "")
    assert b3lb("purge", "record", "-o", "json")[1] == '{\n  "queue": "record",\n  "revoked": 0\n}\n'


def test_waiting_ends_with_the_run_and_says_by_its_exit_code_how() -> None:
    code, out, err = b3lb("run", "render", "--wait", "--timeout", "0", "-o", "json")
    assert (code, json.loads(out)["state"]) == (3, "PENDING")
    assert err.endswith("PENDING\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "rendr"), 2, "has the task rendr; the tasks are check-nodes, render"),
        (("purge", "recrd"), 2, "no BBBQueue recrd in namespace default; the queues are core, record"),
        (("runs", "--queue", "recrd"), 2, "the queues are core, record"),
        (("runs", "--task", "x"), 2, "the tasks are check-nodes, render"),
        (("runs", "--state", "DONE"), 2, "the states are PENDING, STARTED, SUCCESS, FAILURE, RETRY, REVOKED"),
        (("result", str(UUID(int=1))), 1, "no run 00000000-0000-0000-0000-000000000001 in namespace default"),
        (("revoke", str(UUID(int=1))), 1, "no run 00000000-0000-0000-0000-000000000001 in namespace default"),
        (("result", "x"), 2, "'x' is not the ID of a run"),
        (("run", "render", "--priority", "10"), 2, "'10' is not a number from 0 to 9"),
        (("run", "render", "--arguments", "[1]"), 2, "write a JSON object"),
        (("run", "render", "--wait", "--timeout", "5x"), 2, "'5x' is not a duration"),
        (("runs", "--limit", "0"), 2, "'0' is not a number from 1 to 1000"),
    ],
)
def test_what_is_wrong_is_one_line_with_what_is_allowed(arguments: tuple[str, ...], code: int, words: str) -> None:
    found, out, err = b3lb(*arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_arguments_that_are_too_large_are_refused() -> None:
    text = json.dumps({"text": "x" * 70_000})
    code, _, err = b3lb("run", "render", "--arguments", text)
    assert (code, "at most 65536 bytes" in err) == (2, True)
