"""A change of the configuration keeps the health of nodes that are Ready; only another server is judged anew."""

import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.db.configuration import ClusterRow, NodeRow, apply_clusters, apply_nodes
from b3lb.db.engine import transaction
from b3lb.db.node_states import NodePoll, insert_first_states, load_polls, write_states
from b3lb.db.tables import cluster_states, meetings
from b3lb.health import GuardState, LoadReport, NodeState, Observation, Reason
from b3lb_operator.probe import first_state
from dev.farm.process import Farm as SimulatedFarm
from tests.integration.database_farm import Farm
from tests.integration.job_runs import CLUSTER, configure, node_rows, runner, states

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 8, 0, 15, tzinfo=UTC)
FAILED = Observation(Reason.TIMEOUT, "no answer", 0, 0, LoadReport(None), 5.0)


def change(farm: Farm, node: NodeRow, cluster: ClusterRow) -> None:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_clusters(connection, farm.namespace, [cluster, farm.cluster("second")], complete=True, keys=farm.keys)
        apply_nodes(connection, farm.namespace, [node], complete=True, keys=farm.keys)


def one_poll(farm: Farm) -> NodePoll:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        (poll,) = load_polls(connection, farm.namespace)
    return poll


def stored(farm: Farm, state: NodeState) -> NodePoll:
    """Store the state of the one node; return what a poll of it takes then."""
    ids = farm.fill([farm.node()], [farm.cluster(), farm.cluster("second")])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        write_states(connection, [(ids["bbb-1"], state, 70.5, NOW)])
    return one_poll(farm)


@pytest.mark.parametrize(
    ("node", "cluster"),
    [
        ({}, {"timeout_seconds": 6}),
        ({}, {"checksum_algorithm": "sha512"}),
        ({}, {"ca_certificates": "PEM"}),
        ({"load_url": "https://bbb-1.example.org/elsewhere"}, {}),
        ({"cluster": "second"}, {}),
        ({"uid": "uid-of-the-next-object"}, {}),
        ({"load_url": "https://bbb-1.example.org/elsewhere"}, {"timeout_seconds": 6, "checksum_algorithm": "sha1"}),
    ],
)
@pytest.mark.parametrize("failures", [0, 2])
def test_a_ready_node_takes_its_health_to_its_next_revision(
    farm: Farm, node: dict[str, Any], cluster: dict[str, Any], failures: int
) -> None:
    before = stored(farm, farm.state(failures=failures))
    change(farm, farm.node(**node), farm.cluster(**cluster))
    after = one_poll(farm)
    assert after.revision > before.revision
    assert after.state == dataclasses.replace(farm.state(failures=failures), revision=after.revision)
    assert (after.load, after.seen_at) == (before.load, before.seen_at)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert insert_first_states(connection, [first_state(after, FAILED, now=NOW)]) == 0


@pytest.mark.parametrize("changes", [{"weight_percent": 50}, {"state": "Cordoned"}, {"max_meetings": 3}])
def test_what_no_poll_depends_on_moves_neither_revision_nor_state(farm: Farm, changes: dict[str, Any]) -> None:
    before = stored(farm, farm.state(failures=1))
    change(farm, farm.node(**changes), farm.cluster(unhealthy_after=9))
    after = one_poll(farm)
    assert (after.revision, after.state) == (before.revision, before.state)


@pytest.mark.parametrize("changes", [{"secret": "another"}, {"api_url": "https://other.example.org/bigbluebutton/api"}])
def test_another_server_or_secret_is_judged_anew_and_the_last_good_numbers_stay_known(
    farm: Farm, changes: dict[str, Any]
) -> None:
    stored(farm, farm.state(meetings=4, attendees=9))
    change(farm, farm.node(**changes), farm.cluster())
    poll = one_poll(farm)
    assert poll.state == farm.state(meetings=4, attendees=9)
    assert poll.revision == 2
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert insert_first_states(connection, [first_state(poll, FAILED, now=NOW)]) == 1
    state = one_poll(farm).state
    assert state is not None
    assert (state.revision, state.ready, state.failures, state.meetings, state.attendees) == (2, False, 1, 4, 9)


def test_a_node_that_is_not_ready_needs_one_good_poll_after_a_change_that_may_have_mended_it(farm: Farm) -> None:
    stored(farm, farm.state(ready=False, failures=7, reason=Reason.CHECKSUM_ERROR, next_poll_at=NOW))
    change(farm, farm.node(), farm.cluster(checksum_algorithm="sha1"))
    poll = one_poll(farm)
    assert poll.state is not None
    assert (poll.revision, poll.state.revision) == (2, 1)


def test_nobody_vouches_for_a_node_that_was_not_polled_for_a_while(farm: Farm) -> None:
    """Disabled, blocked, deleted: its last state says nothing of what it is when it comes back."""
    stored(farm, farm.state())
    blocked = farm.node(secret=None, blocked_reason="SecretNotFound", blocked_message="…")
    for absence in (farm.node(state="Disabled"), blocked):
        change(farm, absence, farm.cluster())
        change(farm, farm.node(), farm.cluster())
        poll = one_poll(farm)
        assert poll.state is not None
        assert poll.state.revision < poll.revision
    change(farm, farm.node(), farm.cluster(timeout_seconds=7))
    assert one_poll(farm).state == farm.state()


def test_no_failing_probe_is_written_while_the_guard_of_its_cluster_holds(farm: Farm) -> None:
    ids = farm.fill(
        [farm.node("a"), farm.node("b"), farm.node("c", cluster="second")],
        [
            farm.cluster(),
            farm.cluster("second"),
        ],
    )
    with transaction(farm.engine, timeout_seconds=10) as connection:
        cluster_id = load_polls(connection, farm.namespace)[0].cluster_id
        write_states(connection, [], [(cluster_id, GuardState(since=NOW, failed=3, polled=4))])
        down = farm.state(ready=False, proven=False, failures=1)
        rows = [(ids["a"], down, 0.0, None), (ids["b"], farm.state(), 0.0, NOW), (ids["c"], down, 0.0, None)]
        assert insert_first_states(connection, rows) == 2
        assert insert_first_states(connection, rows[:1]) == 0
        write_states(connection, [], [(cluster_id, GuardState())])
        assert insert_first_states(connection, rows[:1]) == 1


@pytest.mark.parametrize("falls", [True, False])
def test_a_change_that_meets_a_tick_waits_for_it_and_keeps_what_it_found(
    farm: Farm, open_transaction: Callable[[], sa.Connection], falls: bool
) -> None:
    poll = stored(farm, farm.state(failures=2))
    tick = open_transaction()
    found = farm.state(failures=3, ready=False) if falls else farm.state(meetings=8)
    assert write_states(tick, [(poll.node_id, found, 1.0, NOW)]) == 1
    operator = threading.Thread(target=change, args=(farm, farm.node(), farm.cluster(timeout_seconds=9)))
    operator.start()
    while farm.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        time.sleep(0.02)
    tick.commit()
    operator.join(10)
    after = one_poll(farm)
    assert after.revision == 2
    assert after.state == dataclasses.replace(found, revision=1 if falls else 2)


async def test_a_cluster_that_is_changed_during_a_mass_failure_keeps_its_nodes_and_their_meetings(
    engine: sa.Engine, database_url: str, bbb_farm: SimulatedFarm
) -> None:
    rows = node_rows(bbb_farm.nodes)
    configure(engine, rows)

    def meeting_states() -> set[str]:
        with engine.connect() as connection:
            return set(connection.scalars(sa.select(meetings.c.state)))

    async with runner(database_url) as run:
        await run.tick()
        before = states(engine)
        assert {ready for ready, *_ in before.values()} == {True}
        bbb_farm.control.set_behaviours({node.name: "http-500" for node in bbb_farm.nodes})
        await run.tick()
        configure(engine, rows, cluster=dataclasses.replace(CLUSTER, timeout_seconds=3, checksum_algorithm="sha512"))
        for _ in range(4):
            await run.tick()
            with engine.connect() as connection:
                assert connection.execute(sa.select(cluster_states.c.mass_failure_since)).scalar_one() is not None
            assert states(engine) == before
            assert meeting_states() == {"open"}
