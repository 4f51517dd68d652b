"""A run's life: ticks that fail, tasks that end, signals, and what is left behind."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pytest
import structlog.testing

from b3lb.crypto import KeyRing
from b3lb.db import task_runs
from b3lb_jobs import program, runner
from b3lb_jobs.clock import DatabaseClock
from b3lb_jobs.errors import Outcome, PermanentError, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.options import RunOptions
from b3lb_jobs.report import SUCCESS, TaskReport, overall, summary_of
from b3lb_jobs.runner import Ending, run
from b3lb_jobs.settings import JobSettings
from b3lb_jobs.task_table import TaskEntry
from b3lb_jobs.tick import TickPlace, seconds_for_work

START = datetime(2026, 11, 23, 10, 30, 1, tzinfo=UTC)
KEYS = KeyRing.generate()
Behaviour = Callable[[TaskReport, datetime], None]


@pytest.mark.parametrize(
    ("needed", "left", "expected"), [(6, 50, 6), (6, 8, 5), (6, 2, 0), (0, 50, 0), (31, 10, 7), (6, -5, 0)]
)
def test_work_never_reaches_into_the_time_for_writing(needed: float, left: float, expected: float) -> None:
    assert seconds_for_work(needed, left) == expected


ENTRY = TaskEntry("check-nodes", "nowhere:nothing", ticking=True)


@pytest.mark.parametrize(
    ("ticks", "once", "state", "code"),
    [
        ("", False, "SUCCESS", 0),
        ("ddd", False, "SUCCESS", 0),
        ("fdf", False, "SUCCESS", 0),
        ("ff", False, "RETRY", 75),
        ("sss", False, "RETRY", 75),
        ("h", False, "RETRY", 75),
        ("hd", False, "SUCCESS", 0),
        ("sds", False, "SUCCESS", 0),
        ("s", True, "RETRY", 75),
        ("h", True, "RETRY", 75),
        ("d", True, "SUCCESS", 0),
    ],
)
def test_the_end_of_a_task_follows_from_its_ticks(ticks: str, once: bool, state: str, code: int) -> None:
    """Ticks are (d)one, (f)ailed, (s)kipped as done elsewhere, or (h)eld by another run."""
    report = TaskReport(ENTRY)
    for tick in ticks:
        match tick:
            case "d":
                report.tick_done(0.5, {})
            case "f":
                report.tick_failed("database: away")
            case _:
                report.tick_skipped(held=tick == "h")
    report.conclude(exactly_one=once)
    assert report.end is not None
    assert (report.end.state, report.end.exit_code) == (state, code)


def test_the_worst_end_of_a_task_is_the_run_s() -> None:
    def ended(outcome: Outcome) -> TaskReport:
        return TaskReport(ENTRY, end=outcome)

    retry = Outcome("RETRY", ExitCode.TRANSIENT, "away")
    failure = Outcome("FAILURE", ExitCode.BAD_INPUT, "bad")
    stopped = Outcome("RETRY", ExitCode.STOPPED, "stopped by SIGTERM")
    assert overall([ended(SUCCESS)], None) == SUCCESS
    assert overall([ended(SUCCESS), ended(retry)], None) == retry
    assert overall([ended(retry), ended(failure)], None) == failure
    assert overall([ended(failure)], stopped) == stopped


def test_the_summary_of_a_run_says_everything_once() -> None:
    report = TaskReport(ENTRY)
    report.tick_done(0.25, {"polled": 3})
    report.tick_done(0.125, {"polled": 4})
    report.tick_failed("database: away")
    report.tick_skipped(held=False)
    report.missed = 1
    report.conclude(exactly_one=False)
    summary = summary_of(SUCCESS, [report], namespace="ns", queue="core", pod="pod-1")
    assert summary == {
        "state": "SUCCESS",
        "exit_code": 0,
        "error": None,
        "namespace": "ns",
        "queue": "core",
        "pod": "pod-1",
        "version": "0.1.0",
        "tasks": [
            {
                "task": "check-nodes",
                "run": str(report.run_id),
                "state": "SUCCESS",
                "done": 2,
                "failed": 1,
                "skipped": 1,
                "missed": 1,
                "last_tick_seconds": 0.125,
                "longest_tick_seconds": 0.25,
                "last_error": "database: away",
                "summary": {"polled": 4},
            }
        ],
    }


class FakeDatabase:
    """A clock, and transactions in which nothing happens."""

    def __init__(self, *_: object, **__: object) -> None:
        loop = asyncio.get_running_loop()
        self.clock = DatabaseClock(START, loop.time(), loop.time)
        self.answered = True
        self.ends_at = 0.0

    def end_by(self, moment: float) -> None:
        self.ends_at = moment

    @contextmanager
    def transaction(self, **_: object) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


class FakeTask:
    """Opens and closes."""

    def __init__(self, _context: TaskContext) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@dataclasses.dataclass
class Stage:
    """A runner whose database and ticks are scripted; ``finished`` holds the written ends of task runs."""

    ticks: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    finished: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    behaviour: Behaviour = lambda report, _at: report.tick_done(0.1, {})
    seconds: float = 0.1

    async def run(self, *entries: TaskEntry, once: bool = False) -> Ending:
        options = RunOptions(
            entries=entries or (ENTRY,),
            namespace="default",
            queue="core",
            pod="pod-1",
            holder="pod-1/x",
            database_url="postgresql://unused",
            keys=KEYS,
            tick_seconds=15,
            once=once,
        )
        return await run(options)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()

    async def open_run(_database: object, options: RunOptions, _reports: Sequence[TaskReport]) -> TaskContext:
        return TaskContext(options.namespace, options.keys, options.tick_seconds or 15, 100)

    async def run_tick(_task: object, report: TaskReport, at: datetime, _place: TickPlace) -> None:
        made.ticks.append((report.entry.name, at.second))
        await asyncio.sleep(made.seconds)
        made.behaviour(report, at)

    monkeypatch.setattr(runner, "Database", FakeDatabase)
    monkeypatch.setattr(runner, "open_run", open_run)
    monkeypatch.setattr(runner, "run_tick", run_tick)
    monkeypatch.setattr(
        task_runs, "finish", lambda _connection, run_id, **fields: made.finished.append({"id": run_id, **fields})
    )
    monkeypatch.setattr(TaskEntry, "load", lambda _self: FakeTask)
    return made


def failing(error: Exception) -> Behaviour:
    def behave(_report: TaskReport, _at: datetime) -> None:
        raise error

    return behave


@pytest.mark.looptime
async def test_a_run_fills_its_minute_and_notes_its_end(stage: Stage) -> None:
    ending = await stage.run()
    assert ending.outcome == SUCCESS
    assert stage.ticks == [("check-nodes", second) for second in (0, 15, 30, 45)]
    assert [(entry["state"], entry["result"]["done"], entry["error"]) for entry in stage.finished] == [
        ("SUCCESS", 4, None)
    ]


@pytest.mark.looptime
async def test_once_is_one_tick_of_the_present_moment(stage: Stage) -> None:
    ending = await stage.run(once=True)
    assert ending.outcome == SUCCESS
    assert stage.ticks == [("check-nodes", 1)]


@pytest.mark.looptime
async def test_a_transient_fault_costs_one_tick_and_one_line(stage: Stage) -> None:
    def away_at_15(report: TaskReport, at: datetime) -> None:
        if at.second == 15:
            raise TransientError("database: away")
        report.tick_done(0.1, {})

    stage.behaviour = away_at_15
    with structlog.testing.capture_logs() as lines:
        ending = await stage.run()
    assert ending.outcome == SUCCESS
    assert (ending.reports[0].done, ending.reports[0].failed) == (3, 1)
    assert [(line["event"], line["log_level"], line["reason"]) for line in lines] == [
        ("tick failed", "warning", "database: away")
    ]
    assert "exc_info" not in lines[0]


@pytest.mark.looptime
async def test_a_run_in_which_every_tick_failed_transiently_is_to_be_retried(stage: Stage) -> None:
    stage.behaviour = failing(TransientError("database: away"))
    ending = await stage.run()
    assert ending.outcome == Outcome("RETRY", ExitCode.TRANSIENT, "database: away")
    assert len(stage.ticks) == 4
    assert stage.finished[0]["state"] == "RETRY"


@pytest.mark.looptime
async def test_a_countdown_leaves_out_the_ticks_before_its_end(stage: Stage) -> None:
    stage.behaviour = failing(TransientError("busy", countdown=20))
    await stage.run()
    assert [second for _, second in stage.ticks] == [0, 30]


@pytest.mark.looptime
async def test_a_permanent_error_ends_the_task_at_once_without_a_traceback(stage: Stage) -> None:
    stage.behaviour = failing(PermanentError("bad data"))
    with structlog.testing.capture_logs() as lines:
        ending = await stage.run()
    assert ending.outcome == Outcome("FAILURE", ExitCode.BAD_INPUT, "bad data")
    assert len(stage.ticks) == 1
    assert (stage.finished[0]["state"], stage.finished[0]["traceback"]) == ("FAILURE", None)
    assert [line["event"] for line in lines] == ["task failed"]
    assert "exc_info" not in lines[0]


@pytest.mark.looptime
async def test_out_of_memory_is_exit_code_69(stage: Stage) -> None:
    stage.behaviour = failing(MemoryError())
    ending = await stage.run()
    assert ending.outcome == Outcome("FAILURE", ExitCode.OUT_OF_MEMORY, "out of memory")


@pytest.mark.looptime
async def test_a_fault_of_the_program_keeps_its_traceback(stage: Stage) -> None:
    stage.behaviour = failing(ZeroDivisionError("oops"))
    with structlog.testing.capture_logs() as lines:
        ending = await stage.run()
    assert ending.outcome == Outcome("FAILURE", ExitCode.INTERNAL, "ZeroDivisionError: oops", expected=False)
    assert "ZeroDivisionError: oops" in stage.finished[0]["traceback"]
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)


@pytest.mark.looptime
async def test_a_task_that_ended_does_not_stop_the_others_and_one_that_does_not_tick_runs_once(stage: Stage) -> None:
    broken, single, ticking = (
        TaskEntry("broken", "x:y", ticking=True),
        TaskEntry("single", "x:y", ticking=False),
        TaskEntry("ticking", "x:y", ticking=True),
    )

    def behave(report: TaskReport, _at: datetime) -> None:
        if report.entry is broken:
            raise PermanentError("bad data")
        report.tick_done(0.1, {})

    stage.behaviour = behave
    ending = await stage.run(broken, single, ticking)
    assert [name for name, _ in stage.ticks] == ["broken", "single", "ticking", "ticking", "ticking", "ticking"]
    assert [entry["state"] for entry in stage.finished] == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert ending.outcome.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.STOPPED), (signal.SIGINT, ExitCode.INTERRUPTED)]
)
async def test_a_signal_gives_up_the_tick_and_the_run_is_to_be_retried(
    stage: Stage, number: signal.Signals, code: ExitCode
) -> None:
    stage.seconds = 60
    loop = asyncio.get_running_loop()
    for delay in (0.05, 0.05):
        loop.call_later(delay, os.kill, os.getpid(), number)
    ending = await stage.run()
    assert ending.outcome == Outcome("RETRY", code, f"stopped by {number.name}")
    assert [(entry["state"], entry["error"]) for entry in stage.finished] == [("RETRY", f"stopped by {number.name}")]


async def test_a_stopped_run_does_not_wait_for_a_database_that_has_just_been_silent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FakeDatabase.__init__

    def silent(self: FakeDatabase, *_: object, **__: object) -> None:
        original(self)
        self.answered = False

    monkeypatch.setattr(FakeDatabase, "__init__", silent)
    stage.seconds = 60
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
    ending = await stage.run()
    assert ending.outcome.exit_code == ExitCode.STOPPED
    assert stage.finished == []


@pytest.mark.looptime
async def test_a_database_that_never_comes_leaves_no_row_and_exit_code_75(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def open_run(*_: object) -> TaskContext:
        raise TransientError("gave up: database: connection refused")

    monkeypatch.setattr(runner, "open_run", open_run)
    with structlog.testing.capture_logs() as lines:
        ending = await stage.run()
    assert ending.outcome == Outcome("RETRY", ExitCode.TRANSIENT, "gave up: database: connection refused")
    assert stage.finished == []
    assert lines == []


@pytest.mark.looptime
async def test_an_end_that_cannot_be_noted_is_one_line(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: object, **_: object) -> Iterator[None]:
        raise TransientError("database: away")

    monkeypatch.setattr(FakeDatabase, "transaction", away)
    with structlog.testing.capture_logs() as lines:
        ending = await stage.run()
    assert ending.outcome == SUCCESS
    assert [line["event"] for line in lines] == ["the end of the run is not noted in the database"]


def test_flags_go_before_the_environment_and_the_queue_s_row_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("B3LB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KEYS.export())
    plain = program.options_from(program.Flags(entries=(ENTRY,)), JobSettings())
    assert (plain.namespace, plain.queue, plain.tick_seconds, plain.max_in_flight) == ("default", "core", None, None)
    monkeypatch.setenv("B3LB_NAMESPACE", "farm")
    monkeypatch.setenv("B3LB_QUEUE", "fast")
    monkeypatch.setenv("B3LB_TICK_SECONDS", "5")
    monkeypatch.setenv("B3LB_MAX_IN_FLIGHT", "7")
    monkeypatch.setenv("B3LB_POD_NAME", "pod-1")
    options = program.options_from(program.Flags(entries=(ENTRY,)), JobSettings())
    assert (options.namespace, options.queue, options.tick_seconds, options.max_in_flight) == ("farm", "fast", 5, 7)
    assert options.pod == "pod-1"
    flags = program.Flags(entries=(ENTRY,), namespace="n", queue="q", tick_seconds=60, max_in_flight=9, once=True)
    options = program.options_from(flags, JobSettings())
    assert (options.namespace, options.queue, options.tick_seconds, options.max_in_flight) == ("n", "q", 60, 9)
    assert "hunter2" not in repr(options)


def test_two_runs_in_one_place_are_two_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KEYS.export())
    monkeypatch.setenv("B3LB_POD_NAME", "pod-1")
    flags = program.Flags(entries=(ENTRY,))
    holders = {program.options_from(flags, JobSettings()).holder for _ in range(2)}
    assert len(holders) == 2
    assert all(holder.startswith("pod-1/") for holder in holders)
