"""What the storage holds that no record set knows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.sweep import Installs, Leftover, StoredSet, SweepRefusal, abandoned, orphans

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=3)
SAME = Installs(storage="a", database="a")


def stored(count: int, *, at: datetime = OLD) -> list[StoredSet]:
    return [StoredSet(f"set-{number}", at, 10) for number in range(count)]


def known(sets: list[StoredSet], *, but: int) -> set[str]:
    return {item.name for item in sets[but:]}


def test_a_temporary_object_is_abandoned_after_two_days_unless_its_record_set_is_there() -> None:
    leftovers = [
        Leftover("tmp/old", OLD),
        Leftover("tmp/part", OLD, upload_id="u1", record_set="gone"),
        Leftover("tmp/ours", OLD, record_set="there"),
        Leftover("tmp/young", NOW - timedelta(days=2)),
    ]
    assert abandoned(leftovers, {"there"}, NOW) == leftovers[:2]


def test_orphans_may_go_while_they_are_few() -> None:
    sets = stored(100)
    found = orphans(sets, known(sets, but=5), SAME, NOW)
    assert found.refusal is None
    assert found.removable == tuple(sets[:5])


def test_nothing_goes_if_more_than_five_percent_would() -> None:
    sets = stored(100)
    found = orphans(sets, known(sets, but=6), SAME, NOW)
    assert found.refusal is SweepRefusal.TOO_MANY
    assert found.message == "6 of 100 record sets would go, more than 5 %"
    assert len(found.orphans) == 6
    assert found.removable == ()


@pytest.mark.parametrize(
    ("installs", "refusal"),
    [
        (Installs(storage="a", database="b"), SweepRefusal.OTHER_INSTALL),
        (Installs(storage=None, database="b"), SweepRefusal.NO_INSTALL_ID),
        (Installs(storage="a", database=None), SweepRefusal.NO_INSTALL_ID),
        (Installs(storage="", database=""), SweepRefusal.NO_INSTALL_ID),
    ],
)
def test_nothing_goes_unless_storage_and_database_belong_together(installs: Installs, refusal: SweepRefusal) -> None:
    sets = stored(100)
    found = orphans(sets, known(sets, but=1), installs, NOW)
    assert found.refusal is refusal
    assert found.removable == ()


def test_what_was_written_lately_is_no_orphan() -> None:
    assert orphans(stored(1, at=NOW - timedelta(days=1)), set(), SAME, NOW).orphans == ()


def test_an_empty_database_beside_a_full_storage_deletes_nothing() -> None:
    assert orphans(stored(1000), set(), SAME, NOW).removable == ()


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), max_size=200),
    st.sampled_from([None, "", "a", "b"]),
    st.sampled_from([None, "", "a", "b"]),
)
def test_what_is_known_or_young_never_goes_nor_ever_more_than_the_share(
    ages: list[tuple[int, bool]], storage: str | None, database: str | None
) -> None:
    sets = [StoredSet(str(number), NOW - timedelta(seconds=age)) for number, (age, _) in enumerate(ages)]
    there = {str(number) for number, (_, is_known) in enumerate(ages) if is_known}
    gone = orphans(sets, there, Installs(storage=storage, database=database), NOW).removable
    assert not {item.name for item in gone} & there
    assert all(NOW - item.newest_at > timedelta(days=2) for item in gone)
    assert len(gone) * 20 <= len(sets)
    assert not gone or (storage and storage == database)
