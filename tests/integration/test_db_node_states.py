"""What a poll reads and writes: one statement each, only what still holds and only what changed."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from b3lb.db.configuration import apply_clusters, apply_nodes
from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.node_states import (
    CHANNEL,
    GuardRow,
    NodePoll,
    StateRow,
    insert_first_states,
    load_polls,
    notify,
    write_states,
)
from b3lb.db.ticks import heartbeat
from b3lb.db.unpolled import Unpolled
from b3lb.health import GuardPolicy, GuardState, HealthPolicy, LoadReason, NodeState, Reason
from b3lb.load import LoadFormula
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 8, 0, 15, 123456, tzinfo=UTC)


def polls(farm: Farm, **options: Any) -> list[NodePoll]:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return load_polls(connection, farm.namespace, **options)


def write(farm: Farm, rows: Sequence[StateRow], guards: Sequence[GuardRow] = ()) -> int:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return write_states(connection, rows, guards)


def test_a_poll_holds_the_node_its_clusters_policies_and_no_state_at_first(farm: Farm) -> None:
    cluster = farm.cluster(
        load=LoadFormula(attendee_factor=2, meeting_factor=40, cpu_terms=3, cpu_maximum=6000),
        checksum_algorithm="sha512",
        timeout_seconds=7,
        unhealthy_after=4,
        healthy_after=5,
        guard=GuardPolicy(share_percent=60, minimum_nodes=4, maximum_seconds=500),
        ca_certificates="PEM",
        lost_meetings_seconds=7200,
    )
    ids = farm.fill([farm.node(weight_percent=200)], [cluster])
    (poll,) = polls(farm, tick_seconds=30)
    sealed = (poll.secret_ciphertext, poll.secret_key_id)
    assert farm.keys.decrypt(*sealed, context="nodes/default/bbb-1") == "secret of bbb-1"
    assert poll == NodePoll(
        node_id=ids["bbb-1"],
        cluster_id=poll.cluster_id,
        name="bbb-1",
        revision=1,
        api_url="https://bbb-1.example.org/bigbluebutton/api",
        load_url="https://bbb-1.example.org/b3lb/load",
        secret_ciphertext=poll.secret_ciphertext,
        secret_key_id="k1",
        algorithm="sha512",
        ca_certificates="PEM",
        timeout_seconds=7,
        weight_percent=200,
        formula=LoadFormula(attendee_factor=2, meeting_factor=40, cpu_terms=3, cpu_maximum=6000),
        health=HealthPolicy(unhealthy_after=4, healthy_after=5, tick_seconds=30),
        guard_policy=GuardPolicy(share_percent=60, minimum_nodes=4, maximum_seconds=500),
        guard=GuardState(),
        state=None,
        load=None,
        seen_at=None,
        observed_at=None,
        lost_meetings_seconds=7200,
    )
    assert repr(poll.secret_ciphertext) not in repr(poll)


def test_states_and_guards_come_back_as_they_were_written(farm: Farm) -> None:
    ids = farm.fill(2)
    first = farm.state(
        ready=False,
        reason=Reason.TLS,
        message="certificate expired: naïve \N{SNOWMAN} 'quoted' \\ back",
        failures=4,
        successes=0,
        next_poll_at=NOW + timedelta(seconds=60),
        ready_changed_at=NOW,
        cpu=None,
        load_reason=LoadReason.NOT_FOUND,
        load_message="404",
        load_missed=4,
    )
    second = farm.state()
    guard = GuardState(since=NOW, exhausted=False, failed=3, polled=5)
    (cluster_id,) = {poll.cluster_id for poll in polls(farm)}
    rows = [(ids["bbb-1"], first, 17.5, None), (ids["bbb-2"], second, 0.1 + 0.2, None)]
    assert write(farm, rows, [(cluster_id, guard)]) == 3
    found = polls(farm)
    assert [(poll.state, poll.load, poll.guard) for poll in found] == [(first, 17.5, guard), (second, 0.1 + 0.2, guard)]
    assert found[0].state is not None
    assert found[0].state.ready_changed_at.utcoffset() == timedelta(0)


def test_deleted_blocked_and_disabled_nodes_and_other_namespaces_are_not_polled(farm: Farm) -> None:
    farm.fill(
        [
            farm.node("active"),
            farm.node("gone"),
            farm.node("cordoned", state="Cordoned"),
            farm.node("draining", state="Draining"),
            farm.node("disabled", state="Disabled"),
            farm.node("blocked", secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret"),
        ]
    )
    farm.run("UPDATE nodes SET deleted_at = now() WHERE name = 'gone'")
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_clusters(connection, "other", [farm.cluster()], complete=True, keys=farm.keys)
        apply_nodes(connection, "other", [farm.node("elsewhere")], complete=True, keys=farm.keys)
    assert [poll.name for poll in polls(farm)] == ["active", "cordoned", "draining"]


def test_any_number_of_nodes_is_read_with_one_statement_and_a_ca_is_sent_once(farm: Farm) -> None:
    clusters = [farm.cluster(ca_certificates="A" * 100_000), farm.cluster("second", ca_certificates="B")]
    nodes = [farm.node(f"n{number}", cluster="second" if number % 3 else "default") for number in range(60)]
    farm.fill(nodes, clusters)
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        found = load_polls(connection, "default")
    assert counter.count == 1
    assert len(found) == 60
    assert {len(poll.ca_certificates or "") for poll in found if int(poll.name[1:]) % 3 == 0} == {100_000}
    assert {poll.ca_certificates for poll in found if int(poll.name[1:]) % 3} == {"B"}
    assert len({id(poll.formula) for poll in found}) == 2


def test_any_number_of_states_is_written_with_one_statement_and_equal_ones_are_not(farm: Farm) -> None:
    ids = farm.fill(60)
    rows = [(node_id, farm.state(), 130.0, None) for node_id in ids.values()]
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert write_states(connection, rows, []) == 60
    assert counter.count == 1
    before = farm.rows("SELECT node_id, xmin::text, written_at FROM node_states ORDER BY node_id")
    assert write(farm, rows) == 0
    assert farm.rows("SELECT node_id, xmin::text, written_at FROM node_states ORDER BY node_id") == before
    rows[3] = (rows[3][0], rows[3][1], 131.0, None)
    assert write(farm, rows) == 1


def test_nothing_to_write_is_no_statement(farm: Farm) -> None:
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert write_states(connection, [], []) == 0
        assert insert_first_states(connection, []) == 0
    assert counter.count == 0


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(NodeState) if item.name != "revision"])
def test_a_change_of_any_field_is_written(farm: Farm, field: str) -> None:
    ids = farm.fill(1)
    old = farm.state()
    changes: dict[str, Any] = {
        "ready": False,
        "proven": False,
        "reason": Reason.DNS,
        "load_reason": LoadReason.TOO_HIGH,
        "next_poll_at": NOW,
        "ready_changed_at": NOW,
        "message": "x",
        "load_message": "x",
        "cpu": None,
    }
    new = dataclasses.replace(old, **{field: changes.get(field, 77)})
    write(farm, [(ids["bbb-1"], old, 1.0, None)])
    assert write(farm, [(ids["bbb-1"], new, 1.0, None)]) == 1
    assert polls(farm)[0].state == new


def test_a_node_that_was_changed_or_deleted_meanwhile_is_not_written(farm: Farm) -> None:
    ids = farm.fill(3)
    farm.run("UPDATE nodes SET revision = 2 WHERE name = 'bbb-1'")
    farm.run("UPDATE nodes SET deleted_at = now() WHERE name = 'bbb-2'")
    assert write(farm, [(node_id, farm.state(), 1.0, None) for node_id in ids.values()]) == 1
    assert farm.rows("SELECT node_id FROM node_states") == [(ids["bbb-3"],)]


def test_a_node_or_cluster_that_does_not_exist_is_left_out(farm: Farm) -> None:
    assert write(farm, [(12345, farm.state(), 1.0, None)], [(12345, GuardState(failed=1))]) == 0


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_tick_that_meets_a_change_of_the_node_never_replaces_the_newer_state(
    farm: Farm, open_transaction: Callable[[], sa.Connection], seen_before: bool
) -> None:
    """The tick's statement begins before the new revision and its probe are committed, and waits for them."""
    node_id = farm.fill(1)["bbb-1"]
    if seen_before:
        write(farm, [(node_id, farm.state(message="before"), 1.0, None)])
    operator = open_transaction()
    operator.execute(sa.text("UPDATE nodes SET revision = 2"))
    probe = farm.state(revision=2, message="probe")
    assert insert_first_states(operator, [(node_id, probe, 5.0, None)]) == 1
    written: list[int] = []
    tick = threading.Thread(target=lambda: written.append(write(farm, [(node_id, farm.state(), 1.0, None)])))
    tick.start()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while farm.rows(waiting) == [(0,)]:
        time.sleep(0.02)
    operator.commit()
    tick.join(10)
    assert written == [0]
    assert polls(farm)[0].state == probe


def test_the_probe_gives_the_first_state_of_a_revision_and_no_other(farm: Farm) -> None:
    ids = farm.fill(1)
    node_id = ids["bbb-1"]

    def first(state: NodeState) -> int:
        with transaction(farm.engine, timeout_seconds=10) as connection:
            return insert_first_states(connection, [(node_id, state, 1.0, None)])

    assert first(farm.state(message="probe")) == 1
    assert first(farm.state(message="late probe")) == 0
    assert write(farm, [(node_id, farm.state(message="poll"), 1.0, None)]) == 1
    assert first(farm.state(message="later probe")) == 0
    assert polls(farm)[0].state == farm.state(message="poll")
    assert first(farm.state(revision=2, message="of a revision that is not there yet")) == 0
    farm.run("UPDATE nodes SET revision = 2")
    assert first(farm.state(revision=2, message="next probe")) == 1
    assert first(farm.state(revision=1, message="old probe")) == 0
    assert polls(farm)[0].state == farm.state(revision=2, message="next probe")


def test_texts_that_postgresql_cannot_store_do_not_lose_the_round(farm: Farm) -> None:
    ids = farm.fill(2)
    bad = farm.state(message="NUL \x00 and \ud800", load_message="\x00")
    assert write(farm, [(ids["bbb-1"], bad, 1.0, None), (ids["bbb-2"], farm.state(), 1.0, None)]) == 2
    state = polls(farm)[0].state
    assert state is not None
    assert (state.message, state.load_message) == ("NUL \ufffd and ?", "\ufffd")


def test_reasons_of_a_newer_program_are_survived(farm: Farm) -> None:
    ids = farm.fill(1)
    write(farm, [(ids["bbb-1"], farm.state(message="why"), 1.0, None)])
    farm.run("UPDATE node_states SET reason = 'FromTheFuture', load_reason = 'Too'")
    state = polls(farm)[0].state
    assert state == farm.state(message="why", reason=Reason.API_ERROR, load_reason=LoadReason.UNREACHABLE)


def test_a_guard_is_written_only_when_it_changed_and_goes_back_to_rest(farm: Farm) -> None:
    farm.fill(1)
    cluster_id = polls(farm)[0].cluster_id
    guard = GuardState(since=NOW, failed=3, polled=5)
    assert write(farm, [], [(cluster_id, guard)]) == 1
    assert write(farm, [], [(cluster_id, guard)]) == 0
    assert polls(farm)[0].guard == guard
    assert write(farm, [], [(cluster_id, GuardState(exhausted=True, failed=3, polled=5))]) == 1
    assert polls(farm)[0].guard.exhausted
    assert write(farm, [], [(cluster_id, GuardState())]) == 1
    assert polls(farm)[0].guard == GuardState()


def test_listeners_hear_of_a_namespace_when_the_transaction_commits(farm: Farm, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        with transaction(farm.engine, timeout_seconds=10) as connection:
            notify(connection, "default")
            assert list(listener.notifies(timeout=0.1, stop_after=1)) == []
        (heard,) = listener.notifies(timeout=5, stop_after=1)
        assert (heard.channel, heard.payload) == ("b3lb", "default")


def test_configuring_and_writing_states_do_not_wait_for_each_other(
    farm: Farm, open_transaction: Callable[[], sa.Connection]
) -> None:
    ids = farm.fill(2)
    tick, sync = open_transaction(), open_transaction()
    write_states(tick, [(node_id, farm.state(), 1.0, None) for node_id in ids.values()], [])
    sync.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
    changes = apply_nodes(sync, "default", [farm.node(weight_percent=50)], complete=True, keys=farm.keys)
    assert [change.action.value for change in changes] == ["update", "delete"]
    sync.commit()
    tick.commit()


def beat(farm: Farm, tick_at: datetime, *, namespace: str = "default", task: str = "check-nodes") -> None:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        lease = Lease(name="l", holder="pod", token=1)
        heartbeat(connection, namespace, task, tick_at=tick_at, started_at=tick_at, lease=lease, summary={})


def test_a_node_whose_last_poll_succeeded_was_seen_in_the_last_tick_and_a_failing_one_when_its_row_says(
    farm: Farm,
) -> None:
    ids = farm.fill(4)
    rows = [
        (ids["bbb-1"], farm.state(), 1.0, NOW),
        (ids["bbb-2"], farm.state(failures=1), 1.0, NOW),
        (ids["bbb-3"], farm.state(failures=5, ready=False), 1.0, None),
    ]
    write(farm, rows)
    assert [poll.seen_at for poll in polls(farm)] == [NOW, NOW, None, None]
    beat(farm, NOW + timedelta(hours=1), task="other")
    beat(farm, NOW + timedelta(hours=1), namespace="other")
    beat(farm, NOW - timedelta(seconds=1))
    assert [poll.seen_at for poll in polls(farm)] == [NOW, NOW, None, None]
    beat(farm, NOW + timedelta(seconds=15))
    assert [poll.seen_at for poll in polls(farm)] == [NOW + timedelta(seconds=15), NOW, None, None]


def test_a_node_was_observed_by_the_last_tick_unless_that_says_that_it_was_not(farm: Farm) -> None:
    ids = farm.fill(3)
    assert [poll.observed_at for poll in polls(farm)] == [None, None, None]
    beat(farm, NOW)
    assert [poll.observed_at for poll in polls(farm)] == [NOW, NOW, NOW]
    unpolled = Unpolled.of(undecryptable=[ids["bbb-1"]], unfinished=[ids["bbb-3"]])
    farm.run("UPDATE heartbeats SET summary = CAST(:summary AS jsonb)", summary=json.dumps(unpolled.in_summary()))
    assert [poll.observed_at for poll in polls(farm)] == [None, NOW, None]


def test_the_time_of_a_good_poll_is_written_with_a_change_and_never_alone(farm: Farm) -> None:
    ids = farm.fill(1)
    later = NOW + timedelta(seconds=15)
    write(farm, [(ids["bbb-1"], farm.state(), 1.0, NOW)])
    assert write(farm, [(ids["bbb-1"], farm.state(), 1.0, later)]) == 0
    assert farm.rows("SELECT seen_at FROM node_states") == [(NOW,)]
    assert write(farm, [(ids["bbb-1"], farm.state(attendees=41), 2.0, later)]) == 1
    assert farm.rows("SELECT seen_at FROM node_states") == [(later,)]
