"""Leases: one holder at a time, and whoever was overtaken writes nothing."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.leases import LONGEST_LEASE_SECONDS, Lease, LeaseLostError, acquire, fence, release
from b3lb.db.tables import leases

pytestmark = pytest.mark.integration

NAME = "default/check-nodes"


def take(engine: sa.Engine, holder: str, ttl_seconds: float = 30) -> Lease | None:
    with transaction(engine, timeout_seconds=10) as connection:
        return acquire(connection, NAME, holder=holder, ttl_seconds=ttl_seconds)


def taken(engine: sa.Engine, holder: str, ttl_seconds: float = 30) -> Lease:
    lease = take(engine, holder, ttl_seconds)
    assert lease is not None
    return lease


def test_a_lease_has_one_holder(engine: sa.Engine) -> None:
    assert take(engine, "pod-a") == Lease(name=NAME, holder="pod-a", token=1)
    assert take(engine, "pod-b") is None


def test_other_names_are_other_leases(engine: sa.Engine) -> None:
    taken(engine, "pod-a")
    with transaction(engine, timeout_seconds=10) as connection:
        assert acquire(connection, "second/check-nodes", holder="pod-b", ttl_seconds=1) is not None


def test_the_holder_gets_it_again_under_a_new_token(engine: sa.Engine) -> None:
    first = taken(engine, "pod-a")
    second = taken(engine, "pod-a")
    assert second.token == first.token + 1
    with transaction(engine, timeout_seconds=10) as connection, pytest.raises(LeaseLostError):
        fence(connection, first)


def test_a_lease_beyond_any_lease_was_taken_before_the_clock_was_set_back_and_has_expired(engine: sa.Engine) -> None:
    taken(engine, "pod-a", LONGEST_LEASE_SECONDS)
    assert take(engine, "pod-b") is None
    with engine.begin() as connection:
        connection.execute(sa.update(leases).values(expires_at=leases.c.expires_at + timedelta(hours=5)))
    assert taken(engine, "pod-b").token == 2
    with pytest.raises(ValueError, match="at most 120 s"):
        take(engine, "pod-c", LONGEST_LEASE_SECONDS + 1)


def test_a_released_lease_is_free_at_once_and_its_token_goes_on(engine: sa.Engine) -> None:
    lease = taken(engine, "pod-a")
    with transaction(engine, timeout_seconds=10) as connection:
        release(connection, lease)
    assert take(engine, "pod-b") == Lease(name=NAME, holder="pod-b", token=2)


def test_releasing_a_lost_lease_takes_nothing_from_the_next_holder(engine: sa.Engine) -> None:
    lost = taken(engine, "pod-a", ttl_seconds=0)
    taken(engine, "pod-b")
    with transaction(engine, timeout_seconds=10) as connection:
        release(connection, lost)
    assert take(engine, "pod-c") is None


def test_an_expired_lease_is_lost_even_if_nobody_took_it(engine: sa.Engine) -> None:
    lease = taken(engine, "pod-a", ttl_seconds=0.05)
    time.sleep(0.06)
    with (
        transaction(engine, timeout_seconds=10) as connection,
        pytest.raises(LeaseLostError, match=rf"lease {NAME} \(token 1\) of pod-a is lost"),
    ):
        fence(connection, lease)


def test_an_overtaken_holder_writes_nothing(engine: sa.Engine) -> None:
    slow = taken(engine, "pod-a", ttl_seconds=0)
    new = taken(engine, "pod-b")
    with transaction(engine, timeout_seconds=10) as connection, pytest.raises(LeaseLostError):
        fence(connection, slow)
    with transaction(engine, timeout_seconds=10) as connection:
        fence(connection, new)


def test_a_token_that_repeats_after_a_restored_backup_fences_another_holder(engine: sa.Engine) -> None:
    lease = taken(engine, "pod-a")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE leases SET holder = 'pod-b'"))
    with transaction(engine, timeout_seconds=10) as connection, pytest.raises(LeaseLostError):
        fence(connection, lease)


@pytest.mark.parametrize("existing", [False, True])
def test_of_many_rivals_at_once_exactly_one_wins(engine: sa.Engine, existing: bool) -> None:
    if existing:
        taken(engine, "pod-before", ttl_seconds=0)
    barrier = threading.Barrier(5)
    won: list[Lease | None] = []

    def compete(number: int) -> None:
        barrier.wait()
        won.append(take(engine, f"pod-{number}"))

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 5
    assert len([lease for lease in won if lease is not None]) == 1


def test_a_rival_waits_for_a_fenced_transaction_and_then_fences_it(
    engine: sa.Engine, open_transaction: Callable[[], sa.Connection]
) -> None:
    """The lease expires while its holder writes: the writes count, the rival comes after them."""
    lease = taken(engine, "pod-a", ttl_seconds=0.3)
    writer = open_transaction()
    fence(writer, lease)
    writer.execute(sa.text("CREATE TABLE witness (seen text)"))
    time.sleep(0.35)
    seen: list[object] = []

    def overtake() -> None:
        with transaction(engine, timeout_seconds=10) as connection:
            seen.append(acquire(connection, NAME, holder="pod-b", ttl_seconds=30))
            seen.append(connection.execute(sa.text("SELECT to_regclass('witness') IS NOT NULL")).scalar_one())

    rival = threading.Thread(target=overtake)
    rival.start()
    rival.join(0.3)
    assert rival.is_alive()
    writer.commit()
    rival.join(10)
    assert seen == [Lease(name=NAME, holder="pod-b", token=2), True]
    with pytest.raises(LeaseLostError):
        fence(open_transaction(), lease)


def test_the_time_to_live_begins_when_the_lease_is_taken_not_when_the_transaction_began(
    engine: sa.Engine, open_transaction: Callable[[], sa.Connection]
) -> None:
    holder = open_transaction()
    first = acquire(holder, NAME, holder="pod-a", ttl_seconds=0)
    assert first is not None
    result: list[Lease | None] = []
    rival = threading.Thread(target=lambda: result.append(take(engine, "pod-b", ttl_seconds=0.5)))
    rival.start()
    time.sleep(0.6)
    holder.commit()
    rival.join(10)
    assert result[0] is not None
    with transaction(engine, timeout_seconds=10) as connection:
        fence(connection, result[0])
