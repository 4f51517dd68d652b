"""The outbox of callbacks on real PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from b3lb.callbacks.outbox import CallbackState, after_attempt, judged
from b3lb.db.callbacks import (
    DueCallback,
    NewCallback,
    announce_recording,
    enqueue_callback,
    load_due_callbacks,
    read_callbacks,
    write_deliveries,
)
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


@pytest.fixture
def new(farm: Farm) -> NewCallback:
    secrets = Recordings(farm).secrets
    return NewCallback("r-1", "room", secrets["uni-001"], "https://example.com/ready")


def enqueue(engine: sa.Engine, *callbacks: NewCallback) -> list[int | None]:
    with engine.begin() as connection:
        return [enqueue_callback(connection, "default", item) for item in callbacks]


def due(engine: sa.Engine, *, most: int = 10, namespace: str = "default") -> list[DueCallback]:
    with engine.connect() as connection:
        return load_due_callbacks(connection, namespace, most=most)


def test_the_same_callback_is_put_in_once_however_often_a_recording_is_rendered(
    engine: sa.Engine, new: NewCallback
) -> None:
    first, second, other = enqueue(engine, new, new, replace(new, url="https://example.com/other"))
    assert (second, first is not None, other is not None) == (None, True, True)
    assert len(due(engine)) == 2


def test_what_is_due_comes_with_all_that_signing_needs_and_shows_no_secret(
    engine: sa.Engine, farm: Farm, new: NewCallback
) -> None:
    enqueue(engine, new)
    (found,) = due(engine)
    assert (found.record_id, found.meeting_id, found.url) == ("r-1", "room", "https://example.com/ready")
    assert (found.secret_name, found.secret_key_id) == ("uni-001", farm.keys.primary)
    assert found.secret_ciphertext
    assert repr(found.secret_ciphertext) not in repr(found)
    assert due(engine, namespace="elsewhere") == []


def test_the_longest_due_come_first_and_only_so_many(engine: sa.Engine, farm: Farm, new: NewCallback) -> None:
    enqueue(engine, *[replace(new, record_id=f"r-{number}") for number in range(5)])
    farm.run("UPDATE callbacks SET next_attempt_at = now() - make_interval(secs => id)")
    assert [item.record_id for item in due(engine, most=2)] == ["r-4", "r-3"]


def test_a_failed_one_waits_until_its_next_turn_and_a_delivered_one_is_over(
    engine: sa.Engine, new: NewCallback
) -> None:
    enqueue(engine, new, replace(new, record_id="r-2"))
    first, second = due(engine)
    now = first.delivery.next_attempt_at
    states = {
        first.id: after_attempt(first.delivery, judged(500), now=now, chance=0),
        second.id: after_attempt(second.delivery, judged(204), now=now, chance=0),
    }
    with engine.begin() as connection:
        assert write_deliveries(connection, states) == 2
        assert write_deliveries(connection, {}) == 0
    assert due(engine) == []
    with engine.connect() as connection:
        shown = {item.record_id: item.delivery for item in read_callbacks(connection, "default")}
    assert shown["r-1"] == states[first.id]
    assert shown["r-1"].next_attempt_at == now + timedelta(seconds=30)
    assert shown["r-2"] == states[second.id]
    assert shown["r-2"].state is CallbackState.DELIVERED


def test_a_recording_is_announced_once_where_its_meetings_metadata_ask_for_it(engine: sa.Engine, farm: Farm) -> None:
    stage = Recordings(farm)
    wanted, silent, ownerless = stage.add("wanted"), stage.add("silent"), stage.add("ownerless", of=None)
    metadata = '{"bbb-recording-ready-url": "https://example.com/ready?a=1&amp;b=2"}'
    farm.run("UPDATE record_sets SET metadata = CAST(:text AS jsonb) WHERE record_id <> 'silent'", text=metadata)
    with engine.begin() as connection:
        assert announce_recording(connection, "default", wanted) is not None
        assert [announce_recording(connection, "default", item) for item in (wanted, silent, ownerless)] == [None] * 3
        assert announce_recording(connection, "elsewhere", wanted) is None
    (found,) = due(engine)
    assert (found.record_id, found.meeting_id, found.url) == ("wanted", "wanted", "https://example.com/ready?a=1&b=2")


@pytest.mark.parametrize("state", ["DELIVERED", "FAILED"])
def test_a_recording_that_was_deleted_and_came_again_is_announced_again(
    engine: sa.Engine, farm: Farm, state: str
) -> None:
    stage = Recordings(farm)
    again = stage.add("again")
    farm.run('UPDATE record_sets SET metadata = \'{"bbb-recording-ready-url": "https://example.com/ready"}\'')
    with engine.begin() as connection:
        assert announce_recording(connection, "default", again) is not None
    farm.run("UPDATE callbacks SET state = :state, finished_at = now(), attempts = 3", state=state)
    farm.run("UPDATE record_sets SET uploaded_at = clock_timestamp()")
    with engine.begin() as connection:
        assert announce_recording(connection, "default", again) is not None
        assert announce_recording(connection, "default", again) is None
    (found,) = due(engine)
    assert (found.record_id, found.delivery.attempts) == ("again", 0)


def test_what_another_one_noted_meanwhile_stands(engine: sa.Engine, new: NewCallback) -> None:
    enqueue(engine, new)
    (found,) = due(engine)
    now = found.delivery.next_attempt_at
    delivered = after_attempt(found.delivery, judged(200), now=now, chance=0)
    failed = after_attempt(found.delivery, judged(500), now=now, chance=0)
    for state, written in (
        (failed, 1),
        (failed, 0),
        (replace(delivered, attempts=2), 1),
        (replace(failed, attempts=9), 0),
    ):
        with engine.begin() as connection:
            assert write_deliveries(connection, {found.id: state}) == written
    with engine.connect() as connection:
        assert read_callbacks(connection, "default")[0].delivery.state is CallbackState.DELIVERED
