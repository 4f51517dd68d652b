"""What the storage holds that no record set knows."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.sweep import (
    Installs,
    Known,
    StoredSet,
    SweepRefusal,
    abandoned,
    is_left_over,
    orphans,
    stored_sets,
)
from b3lb.storage.interface import StoredObject, Unfinished
from b3lb.storage.layout import archive_key, manifest_key, video_prefix

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=3)
A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)
SAME = Installs(storage=A, database=A)


def stored(count: int, *, at: datetime = OLD) -> list[StoredSet]:
    return [StoredSet(UUID(int=number), at) for number in range(count)]


def known(sets: list[StoredSet], *, but: int) -> set[UUID]:
    return {item.id for item in sets[but:]}


UNFINISHED = [
    Unfinished("u1", None, OLD),
    Unfinished("u2", archive_key("farm", A), OLD),
    Unfinished("u3", f"{video_prefix('farm', A, C)}x.mp4", OLD),
    Unfinished("u4", f"{video_prefix('farm', B, C)}x.mp4", OLD),
    Unfinished("u5", archive_key("other", A), OLD),
    Unfinished("u6", "elsewhere/x", OLD),
    Unfinished("u7", None, NOW - timedelta(days=2)),
    Unfinished("u8", archive_key("farm", A), NOW - timedelta(days=2)),
]


def left(installs: Installs) -> list[str]:
    found = abandoned(UNFINISHED, namespace="farm", working={B}, installs=installs, now=NOW)
    return [item.id for item in found]


def test_what_is_unfinished_is_abandoned_after_two_days_unless_its_record_set_is_in_work() -> None:
    assert left(SAME) == ["u1", "u2", "u3"]


@pytest.mark.parametrize("installs", [Installs(storage=A, database=B), Installs(storage=None, database=None)])
def test_uploads_of_another_installation_are_left_to_it(installs: Installs) -> None:
    assert left(installs) == ["u1"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (StoredObject(f"{video_prefix('farm', A, C)}lost.mp4", 5, OLD), True),
        (StoredObject(f"{video_prefix('farm', A, C)}young.mp4", 5, NOW - timedelta(days=2)), False),
        (StoredObject(f"{video_prefix('farm', A, C)}public.mp4", 5, OLD), False),
        (StoredObject(f"{video_prefix('farm', B, C)}rendering.mp4", 5, OLD), False),
        (StoredObject(f"{video_prefix('farm', C, C)}orphan.mp4", 5, OLD), False),
        (StoredObject(archive_key("farm", A), 5, OLD), False),
        (StoredObject(manifest_key("farm", A), 5, OLD), False),
    ],
)
def test_a_video_is_left_over_when_no_row_names_it_and_nobody_is_at_work(item: StoredObject, expected: bool) -> None:
    known = Known(record_sets={A, B}, working={B}, named={f"{video_prefix('farm', A, C)}public.mp4"})
    assert is_left_over(item, known, SAME, NOW) is expected
    assert not is_left_over(item, known, Installs(storage=A, database=B), NOW)


def test_the_objects_of_a_record_set_are_taken_together() -> None:
    objects = [
        StoredObject(archive_key("farm", A), 100, OLD),
        StoredObject(manifest_key("farm", A), 5, NOW),
        StoredObject(archive_key("farm", B), 7, OLD),
        StoredObject("installation.json", 9, NOW),
    ]
    assert stored_sets(objects) == [StoredSet(A, NOW, objects=2, size=105), StoredSet(B, OLD, objects=1, size=7)]


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
        (Installs(storage=A, database=B), SweepRefusal.OTHER_INSTALL),
        (Installs(storage=None, database=B), SweepRefusal.NO_INSTALL_ID),
        (Installs(storage=A, database=None), SweepRefusal.NO_INSTALL_ID),
        (Installs(storage=None, database=None), SweepRefusal.NO_INSTALL_ID),
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
    st.sampled_from([None, A, B]),
    st.sampled_from([None, A, B]),
)
def test_what_is_known_or_young_never_goes_nor_ever_more_than_the_share(
    ages: list[tuple[int, bool]], storage: UUID | None, database: UUID | None
) -> None:
    sets = [StoredSet(UUID(int=number), NOW - timedelta(seconds=age)) for number, (age, _) in enumerate(ages)]
    there = {UUID(int=number) for number, (_, is_known) in enumerate(ages) if is_known}
    gone = orphans(sets, there, Installs(storage=storage, database=database), NOW).removable
    assert not {item.id for item in gone} & there
    assert all(NOW - item.newest_at > timedelta(days=2) for item in gone)
    assert len(gone) * 20 <= len(sets)
    assert not gone or (storage is not None and storage == database)
