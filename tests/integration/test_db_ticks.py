"""The end of a tick: a constant number of statements, all or nothing, and only for the lease's holder."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db import task_runs
from b3lb.db.engine import count_statements, create_engine, database_clock, transaction
from b3lb.db.errors import is_transient
from b3lb.db.leases import Lease, LeaseLostError, acquire
from b3lb.db.migrate import migrate
from b3lb.db.node_states import GuardRow, write_states
from b3lb.db.ticks import Tick, finish_tick
from b3lb.health import GuardState
from dev.postgres import Postgres
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

TICK_AT = datetime(2026, 11, 23, 8, 0, 15, tzinfo=UTC)


def taken(engine: sa.Engine, holder: str = "pod-a", ttl_seconds: float = 30) -> Lease:
    with transaction(engine, timeout_seconds=10) as connection:
        lease = acquire(connection, "default/check-nodes", holder=holder, ttl_seconds=ttl_seconds)
    assert lease is not None
    return lease


def started(engine: sa.Engine) -> UUID:
    run_id = uuid4()
    with transaction(engine, timeout_seconds=10) as connection:
        task_runs.start(
            connection, run_id, namespace="default", queue="core", task="check-nodes", pod="pod-a", arguments={}
        )
    return run_id


def states(farm: Farm, ids: Iterable[int], guards: Sequence[GuardRow] = ()) -> Callable[[sa.Connection], int]:
    """Return what writes a healthy state for every node, and the guards."""
    return partial(write_states, rows=[(node_id, farm.state(), 1.0, TICK_AT) for node_id in ids], guards=guards)


def tick(**changes: Any) -> Tick:
    values = {"namespace": "default", "task": "check-nodes", "tick_at": TICK_AT, "started_at": TICK_AT, "seconds": 1.5}
    return Tick(**{**values, **changes})


@pytest.mark.parametrize("number", [1, 40])
def test_a_tick_takes_the_same_statements_for_one_node_and_for_forty(farm: Farm, number: int) -> None:
    ids = farm.fill(number)
    (cluster_id,) = farm.rows("SELECT id FROM clusters")[0]
    lease, run_id = taken(farm.engine), started(farm.engine)
    outcome = tick(
        write=states(farm, ids.values(), [(cluster_id, GuardState(failed=3, polled=3))]),
        summary={"polled": number},
    )
    with count_statements(farm.engine) as counter, transaction(farm.engine, timeout_seconds=10) as connection:
        assert finish_tick(connection, lease, outcome, run_id=run_id) == number + 1
    # Limits, fence, states, guards, heartbeat, task run, notification, release.
    assert counter.count == 8


def test_a_tick_without_changes_writes_heartbeat_and_task_run_only(farm: Farm, database_url: str) -> None:
    ids = farm.fill(3)
    same = states(farm, ids.values())
    with transaction(farm.engine, timeout_seconds=10) as connection:
        same(connection)
    lease, run_id = taken(farm.engine), started(farm.engine)
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN b3lb")
        with count_statements(farm.engine) as counter, transaction(farm.engine, timeout_seconds=10) as connection:
            assert finish_tick(connection, lease, tick(), run_id=run_id) == 0
        assert counter.count == 5
        with transaction(farm.engine, timeout_seconds=10) as connection:
            # Unchanged rows that are passed nevertheless are not written and not announced.
            assert finish_tick(connection, taken(farm.engine), tick(write=same), run_id=run_id) == 0
        assert list(listener.notifies(timeout=0.2, stop_after=1)) == []


def test_a_tick_leaves_a_heartbeat_and_counts_in_its_run(farm: Farm) -> None:
    lease, run_id = taken(farm.engine), started(farm.engine)
    for seconds in (1.5, 4.0, 2.5):
        with transaction(farm.engine, timeout_seconds=10) as connection:
            finish_tick(
                connection,
                lease,
                tick(seconds=seconds, summary={"polled": 3, "bad": float("inf")}),
                run_id=run_id,
                give_back=False,
            )
    (beat,) = farm.rows("SELECT namespace, task, tick_at, started_at, holder, token, summary FROM heartbeats")
    assert beat == ("default", "check-nodes", TICK_AT, TICK_AT, "pod-a", 1, {"polled": 3, "bad": None})
    ((age,),) = farm.rows("SELECT extract(epoch FROM clock_timestamp() - finished_at)::float FROM heartbeats")
    assert 0 <= age < 10
    assert farm.rows("SELECT ticks, last_tick_seconds, longest_tick_seconds FROM task_runs") == [(3, 2.5, 4.0)]


def test_the_lease_is_given_back_unless_it_is_to_be_kept(farm: Farm) -> None:
    free = "SELECT expires_at <= clock_timestamp() FROM leases"
    lease = taken(farm.engine)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        finish_tick(connection, lease, tick(), give_back=False)
    assert farm.rows(free) == [(False,)]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        finish_tick(connection, lease, tick())
    assert farm.rows(free) == [(True,)]


def test_a_tick_that_was_overtaken_leaves_nothing(farm: Farm) -> None:
    ids = farm.fill(1)
    slow, run_id = taken(farm.engine, ttl_seconds=0), started(farm.engine)
    taken(farm.engine, holder="pod-b")
    with pytest.raises(LeaseLostError), transaction(farm.engine, timeout_seconds=10) as connection:
        finish_tick(connection, slow, tick(write=states(farm, ids.values())), run_id=run_id)
    assert farm.rows("SELECT count(*) FROM node_states") == [(0,)]
    assert farm.rows("SELECT count(*) FROM heartbeats") == [(0,)]
    assert farm.rows("SELECT ticks FROM task_runs") == [(0,)]


def test_a_connection_that_ends_before_the_commit_leaves_nothing(farm: Farm) -> None:
    ids = farm.fill(1)
    lease = taken(farm.engine)

    def lose_the_connection() -> None:
        with transaction(farm.engine, timeout_seconds=10) as connection:
            finish_tick(connection, lease, tick(write=states(farm, ids.values())))
            backend = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            farm.run("SELECT pg_terminate_backend(:pid, 5000)", pid=backend)

    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        lose_the_connection()
    assert is_transient(caught.value)
    assert farm.rows("SELECT count(*) FROM node_states") == [(0,)]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        finish_tick(connection, lease, tick(write=states(farm, ids.values())))
    assert farm.rows("SELECT count(*) FROM node_states") == [(1,)]


def test_a_server_killed_in_the_middle_of_a_tick_leaves_nothing_and_the_engine_recovers() -> None:
    with Postgres() as server:
        engine = create_engine(server.url, application_name="b3lb-tests")
        migrate(engine)
        lease, run_id = taken(engine), started(engine)

        def lose_the_server() -> None:
            with transaction(engine, timeout_seconds=10) as connection:
                finish_tick(connection, lease, tick(summary={"polled": 1}), run_id=run_id)
                server.kill()

        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            lose_the_server()
        assert is_transient(caught.value)
        begin = time.monotonic()
        with pytest.raises(sqlalchemy.exc.OperationalError) as refused, engine.connect():
            pass
        assert is_transient(refused.value)
        assert time.monotonic() - begin < 5
        server.start()
        with transaction(engine, timeout_seconds=10) as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM heartbeats")).scalar_one() == 0
            assert connection.execute(sa.text("SELECT ticks FROM task_runs")).scalar_one() == 0
            finish_tick(connection, lease, tick(), run_id=run_id)
            assert database_clock(connection).tzinfo is not None
        engine.dispose()
