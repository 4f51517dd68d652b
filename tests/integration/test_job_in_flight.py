"""How many requests a poll of all nodes has under way: what the simulated servers themselves counted at most."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from b3lb.bbb import client
from b3lb.db.configuration import apply_queues
from b3lb.db.engine import transaction
from b3lb.db.rows import QueueRow
from dev.farm.process import Farm
from tests.integration.job_runs import NAMESPACE, all_healthy, configure, node_rows, runner, states

pytestmark = pytest.mark.integration

ANSWER_SECONDS = 0.3
POLLS = 80


@pytest.fixture
def slow_farm(bbb_farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """Servers that take their time; that a busy machine makes them slower still must not let them count as hanging."""
    monkeypatch.setattr(client, "SLOT_SECONDS", 60.0)
    bbb_farm.control.set_behaviours({node.name: "slow" for node in bbb_farm.nodes}, seconds=ANSWER_SECONDS)
    bbb_farm.control.reset_counters()
    yield bbb_farm
    all_healthy(bbb_farm)


async def test_by_default_a_hundred_requests_are_in_flight_and_no_more(
    database_url: str, engine: sa.Engine, slow_farm: Farm
) -> None:
    configure(engine, node_rows(slow_farm.nodes, count=POLLS))
    async with runner(database_url) as run:
        await run.tick()
    assert len(states(engine)) == POLLS
    counts = slow_farm.control.counters()
    assert sum(counts.requests.values()) == 2 * POLLS
    assert 60 <= counts.max_in_flight <= 100


async def test_one_in_flight_is_one_request_after_the_other(
    database_url: str, engine: sa.Engine, slow_farm: Farm
) -> None:
    configure(engine, node_rows(slow_farm.nodes))
    with transaction(engine, timeout_seconds=5) as connection:
        row = QueueRow("core", "uid", 1, ("check-nodes",), tick_seconds=15, max_in_flight=1)
        apply_queues(connection, NAMESPACE, [row], complete=True)
    async with runner(database_url) as run:
        await run.tick()
    assert {ready for ready, _, _ in states(engine).values()} == {True}
    counts = slow_farm.control.counters()
    assert (sum(counts.requests.values()), counts.max_in_flight) == (2 * len(slow_farm.nodes), 1)
