"""Faults under a run of the core queue: nothing half done, and the next tick or run goes on."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from b3lb.db.engine import create_engine
from b3lb.db.migrate import migrate
from b3lb.db.rows import ClusterRow
from b3lb.db.tables import heartbeats, leases, node_states, task_runs
from b3lb_jobs import opening as opening_module
from b3lb_jobs import runner as runner_module
from b3lb_jobs.errors import TransientError
from b3lb_jobs.ticks import Plan
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.job_runs import (
    changed_tables,
    configure,
    job,
    log_lines,
    node_rows,
    only,
    options,
    poll_is_under_way,
    runner,
    started,
    states,
    versions,
    wait_for,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_a_run_that_lost_its_lease_in_a_tick_writes_nothing(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url) as first, runner(database_url, holder="pod-2/b") as second:
        bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "hang")
        slow = asyncio.create_task(first.tick())
        await asyncio.sleep(0.5)
        # As if the first process had been frozen for longer than its lease.
        with engine.begin() as connection:
            connection.execute(sa.update(leases).values(expires_at=sa.func.clock_timestamp()))
        bbb_farm.control.set_behaviour(bbb_farm.nodes[1].name, "refused")
        later = first.first + timedelta(seconds=15)
        overtaking = asyncio.create_task(second.tick(later))
        await overtaking
        before = versions(engine)
        with pytest.raises(TransientError, match=r"lease check-nodes/default .* is lost"):
            await slow
        assert changed_tables(before, versions(engine)) == set()
    assert only(engine, heartbeats).tick_at == later


def test_after_the_database_s_clock_was_set_back_the_next_run_polls_and_mends_the_heartbeat(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "refused")
    assert job(database_url, "core", "--once").returncode == 0
    bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "ok")
    hours = timedelta(hours=5)
    beat = dict.fromkeys(("tick_at", "started_at", "finished_at"), sa.func.now() + hours)
    with engine.begin() as connection:
        connection.execute(sa.update(heartbeats).values(beat))
        connection.execute(sa.update(leases).values(expires_at=sa.func.now() + hours))
        connection.execute(sa.update(node_states).values(next_poll_at=sa.func.now() + hours))
    ended = job(database_url, "core", "--once")
    assert ended.returncode == 0
    assert "the last tick is in the future and does not count" in ended.stderr
    assert states(engine)["node-000"] == (True, "Responding", 0)
    assert only(engine, heartbeats).tick_at <= datetime.now(UTC)


def test_a_kill_in_the_middle_of_a_tick_leaves_the_old_state_and_the_next_run_goes_on(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    assert job(database_url, "core", "--once").returncode == 0
    bbb_farm.control.set_behaviours({bbb_farm.nodes[0].name: "hang", bbb_farm.nodes[1].name: "refused"})
    before = versions(engine)
    with started(database_url, "core", "--once") as process:
        wait_for(poll_is_under_way(bbb_farm, bbb_farm.nodes[0].name), seconds=20)
        process.kill()
        process.wait()
        killed_at = time.monotonic()
    after = versions(engine)
    assert changed_tables(before, after) == {"leases", "task_runs", "task_totals"}
    bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "ok")
    held = job(database_url, "core", "--once")
    assert held.returncode == 75
    assert log_lines(held.stderr)[-1]["error"] == "another run holds the lease of this task"
    wait_for(lambda: job(database_url, "core", "--once").returncode == 0, seconds=20)
    # Two seconds of time-out, one to spare, five for writing; and the time that a run takes to start.
    assert time.monotonic() - killed_at < 8 + 8
    assert states(engine)["node-000"] == (True, "Responding", 0)
    assert states(engine)["node-001"][1:] == ("Refused", 1)


def test_sigterm_gives_the_tick_up_within_seconds_releases_the_lease_and_says_so(
    database_url: str, engine: sa.Engine, bbb_farm: Farm, tmp_path: Path
) -> None:
    configure(engine, node_rows(bbb_farm.nodes), cluster=ClusterRow("default", "uid", 1, timeout_seconds=30))
    bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "hang")
    with started(database_url, "core", "--once", B3LB_TERMINATION_LOG=str(tmp_path / "message")) as process:
        wait_for(poll_is_under_way(bbb_farm, bbb_farm.nodes[0].name), seconds=20)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - begun < 3
        assert process.returncode == 143
    assert states(engine) == {}
    assert only(engine, leases).expires_at <= datetime.now(UTC)
    run = only(engine, task_runs)
    assert (run.state, run.error, run.ticks, run.traceback) == ("RETRY", "stopped by SIGTERM", 0, None)
    assert run.finished_at is not None
    message = json.loads((tmp_path / "message").read_bytes())
    assert (message["state"], message["exit_code"], message["error"]) == ("RETRY", 143, "stopped by SIGTERM")
    assert [line["event"] for line in log_lines(errors)] == ["run ended"]


def test_sigterm_before_the_database_is_reached_is_exit_code_143() -> None:
    with started("postgresql://u:p@127.0.0.1:1/none", "core") as process:
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    # A slow machine may still be importing; then nothing is said.
    assert process.returncode == 143
    assert [line["error"] for line in log_lines(errors)] in (["stopped by SIGTERM"], [])


def test_a_database_that_is_away_is_one_line_and_exit_code_75(tmp_path: Path) -> None:
    url = "postgresql://u:hunter2@127.0.0.1:1/none"
    ended = job(url, "core", "--once", B3LB_TERMINATION_LOG=str(tmp_path / "message"))
    assert (ended.returncode, ended.stdout) == (75, "")
    (line,) = log_lines(ended.stderr)
    assert line["level"] == "warning"
    assert "gave up: database: connection" in line["error"]
    assert "hunter2" not in ended.stderr
    assert json.loads((tmp_path / "message").read_bytes())["exit_code"] == 75


def test_an_empty_database_is_one_line_and_exit_code_75(empty_database_url: str) -> None:
    ended = job(empty_database_url, "core", "--once")
    assert ended.returncode == 75
    (line,) = log_lines(ended.stderr)
    assert line["error"] == "gave up: the database has no schema yet; the operator creates it"


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A server of the test's own, to be killed and frozen."""
    with Postgres() as server:
        yield server


async def test_a_database_that_is_killed_or_frozen_costs_ticks_and_nothing_else(
    own_server: Postgres, bbb_farm: Farm
) -> None:
    url = own_server.create_database("faults")
    engine = create_engine(url, application_name="b3lb-tests")
    migrate(engine)
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(url) as run:
        await run.tick()
        own_server.kill()
        with pytest.raises(TransientError, match=r"^database: "):
            await run.tick()
        own_server.restart()
        await run.tick()
        own_server.pause()
        begun = time.monotonic()
        with pytest.raises(TransientError, match=r"^database: "):
            await run.tick()
        # Five seconds until the connection is cut, five for another one.
        assert time.monotonic() - begun < 13
        own_server.resume()
        # The frozen server's half of the last connection may still hold the lease's row for a moment.
        wait_for(lambda: _answers(engine), seconds=10)
        await run.tick()
        assert run.report.done == 3
    assert all(state == (True, "Responding", 0) for state in states(engine).values())
    assert only(engine, task_runs).ticks == 3
    engine.dispose()


@pytest.mark.parametrize("frozen", ["before the run", "between two ticks", "while nodes are polled"])
async def test_a_database_that_is_frozen_holds_no_run_beyond_its_end(
    own_server: Postgres, bbb_farm: Farm, monkeypatch: pytest.MonkeyPatch, frozen: str
) -> None:
    """A slot of ten seconds with ticks at 0 and 3 stands for the minute; the run's end may be two seconds late."""
    url = own_server.create_database("faults")
    engine = create_engine(url, application_name="b3lb-tests")
    migrate(engine)
    configure(engine, node_rows(bbb_farm.nodes))
    begun = asyncio.get_running_loop().time()

    def short_plan(now: datetime, _tick_seconds: int) -> Plan:
        ends_at = now + timedelta(seconds=10)
        return Plan((now, now + timedelta(seconds=3)), ends_at, ends_at)

    monkeypatch.setattr(runner_module, "plan_run", short_plan)
    monkeypatch.setattr(opening_module, "plan_run", short_plan)
    if frozen == "before the run":
        own_server.pause()
    elif frozen == "between two ticks":
        asyncio.get_running_loop().call_later(2.5, own_server.pause)
    else:
        asyncio.get_running_loop().call_later(2, bbb_farm.control.set_behaviour, bbb_farm.nodes[0].name, "hang")
        asyncio.get_running_loop().call_later(4, own_server.pause)
    ending = await runner_module.run(options(url, "pod-1/a"))
    took = asyncio.get_running_loop().time() - begun
    own_server.resume()
    assert took < 12
    check_nodes = ending.reports[0]
    assert check_nodes.failed == (0 if frozen == "before the run" else 1)
    assert ending.outcome.exit_code == (75 if frozen == "before the run" else 0)
    engine.dispose()


async def test_a_database_that_goes_away_while_nodes_are_polled_leaves_the_old_state(
    own_server: Postgres, bbb_farm: Farm
) -> None:
    url = own_server.create_database("faults")
    engine = create_engine(url, application_name="b3lb-tests")
    migrate(engine)
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(url) as run:
        await run.tick()
        before = versions(engine)
        bbb_farm.control.set_behaviours({bbb_farm.nodes[0].name: "hang", bbb_farm.nodes[1].name: "refused"})
        slow = asyncio.create_task(run.tick())
        await asyncio.sleep(0.5)
        own_server.kill()
        with pytest.raises(TransientError, match=r"^database: "):
            await slow
        own_server.restart()
        wait_for(lambda: _answers(engine), seconds=10)
        assert changed_tables(before, versions(engine)) == {"leases"}
        bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "ok")
        # The lease is still this run's own, so it need not wait for its end.
        await run.tick()
    assert {name: state[2] for name, state in states(engine).items()} == {
        "node-000": 0,
        "node-001": 1,
        "node-002": 0,
        "node-003": 0,
    }
    engine.dispose()


def _answers(engine: sa.Engine) -> bool:
    try:
        with engine.connect() as connection:
            return bool(connection.execute(sa.text("select true")).scalar_one())
    except sa.exc.OperationalError:
        return False
