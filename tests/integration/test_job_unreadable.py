"""A run that can decrypt no API secret: one by hand hides nothing, and a lasting fault is told to the operator."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.engine import database_clock, transaction
from b3lb.db.mirror import read_snapshot
from b3lb.db.tables import heartbeats, leases, nodes, task_runs
from b3lb_jobs.errors import PermanentError
from b3lb_operator.view import View
from dev.farm.process import Farm
from tests.integration.job_runs import (
    NAMESPACE,
    changed_tables,
    configure,
    job,
    log_lines,
    node_rows,
    only,
    runner,
    states,
    versions,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def check_nodes_runs(engine: sa.Engine) -> list[tuple[Any, ...]]:
    """Return (state, ticks, error) of the runs of check-nodes, the oldest first."""
    columns = (task_runs.c.state, task_runs.c.ticks, task_runs.c.error)
    query = sa.select(*columns).where(task_runs.c.task == "check-nodes").order_by(task_runs.c.started_at)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("name", ["core", "check-nodes"])
def test_a_run_that_can_decrypt_no_secret_leaves_nothing_but_its_failed_task_run(
    database_url: str, engine: sa.Engine, bbb_farm: Farm, name: str
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    assert job(database_url, "core", "--once").returncode == 0
    before, first_tick = versions(engine), only(engine, heartbeats).tick_at
    bbb_farm.control.reset_counters()
    # A run that would go on ticking ends with its first tick: nothing changes until somebody changes its key.
    once = ["--once"] if name == "core" else []
    ended = job(database_url, name, *once, B3LB_ENCRYPTION_KEYS=KeyRing.generate("k9").export())
    assert ended.returncode == 78
    warning, failure, last = log_lines(ended.stderr)
    assert (warning["key_id"], warning["nodes"], warning["configured"]) == ("k1", 4, "k9")
    assert "none of the API secrets of 4 nodes can be decrypted" in failure["reason"]
    assert (last["state"], last["exit_code"]) == ("FAILURE", 78)
    assert last["tasks"][0]["summary"]["undecryptable"] == {"k1": 4}
    assert "unpolled" not in last["tasks"][0]["summary"]
    assert bbb_farm.control.counters().total == 0
    beat = only(engine, heartbeats)
    assert (beat.tick_at, "unpolled" in beat.summary) == (first_tick, False)
    # The other task of the queue needs no secret and goes on.
    assert changed_tables(before, versions(engine)) == {"leases", "task_runs", "task_totals"} | (
        {"heartbeats"} if once else set()
    )
    with transaction(engine, timeout_seconds=5) as connection:
        assert only(engine, leases).expires_at < database_clock(connection)
    assert check_nodes_runs(engine) == [("SUCCESS", 1, None), ("FAILURE", 0, failure["reason"])]


async def test_that_no_secret_can_be_decrypted_is_told_to_the_operator_when_it_lasts(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url) as good:
        await good.tick()
        before, good_tick = states(engine), only(engine, heartbeats).tick_at

        async def fail(seconds: int) -> dict[str, Any]:
            async with runner(database_url, holder="pod-2/b", keys=KeyRing.generate("k9")) as run:
                with pytest.raises(PermanentError, match="none of the API secrets of 4 nodes can be decrypted"):
                    await run.tick(good_tick + timedelta(seconds=seconds))
            beat = only(engine, heartbeats)
            assert beat.tick_at == good_tick
            assert states(engine) == before
            return dict(beat.summary)

        assert "unpolled" not in await fail(15)
        assert "unpolled" not in await fail(60)
        with engine.connect() as connection:
            ids = list(connection.scalars(sa.select(nodes.c.id).order_by(nodes.c.id)))
        assert (await fail(61))["unpolled"] == {"undecryptable": ids}
        assert (await fail(121))["unpolled"] == {"undecryptable": ids}
        with transaction(engine, timeout_seconds=5) as connection:
            snapshot = read_snapshot(connection, NAMESPACE)
        view = View.of(snapshot, age=timedelta(0), error="", now=snapshot.now)
        assert [view.unpolled.undecryptable.may_hold(node_id) for node_id in ids] == [True] * 4
        await good.tick()
        assert "unpolled" not in only(engine, heartbeats).summary


async def test_a_farm_that_was_never_polled_says_at_once_that_no_secret_can_be_decrypted(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url, keys=KeyRing.generate("k9")) as run:
        with pytest.raises(PermanentError):
            await run.tick()
    assert len(only(engine, heartbeats).summary["unpolled"]["undecryptable"]) == 4
