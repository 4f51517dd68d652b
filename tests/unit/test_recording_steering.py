"""What is to be done about recordings, from what is stored and wished."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.steering import (
    MOST_ENDED,
    Changes,
    Recording,
    RenderRun,
    Video,
    Wish,
    decide,
    progress,
    queue_positions,
    rounded_up,
    run_id,
)
from b3lb.release import HELD_UNTIL
from b3lb.resources.recording import recording_name

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = Changes()


def run(**fields: Any) -> RenderRun:
    values = {"state": "PENDING", "over": False, "in_flight": False, "queue": "record", "enqueued_at": NOW}
    return RenderRun(**{**values, **fields})


def video(**fields: Any) -> Video:
    values = {"id": uuid4(), "profile": "hd", "state": "PENDING", "run_id": uuid4(), "renders": 1, "run": run()}
    return Video(**{**values, **fields})


def recording(**fields: Any) -> Recording:
    values = {
        "id": uuid4(),
        "name": "r-1",
        "record_id": "r-1",
        "state": RecordSetState.UPLOADED,
        "uploaded_at": NOW,
        "videos": (video(),),
    }
    return Recording(**{**values, **fields})


def decided(*recordings: Recording, wish: Wish | None = None, **fields: Any) -> Changes:
    wishes = {} if wish is None else {"r-1": wish}
    return decide(recordings, wishes, **{"queue": "record", **fields})


def test_a_run_that_waits_needs_nothing() -> None:
    assert decided(recording()) == NOTHING


def test_a_run_has_the_same_id_however_often_it_is_planned() -> None:
    first = uuid4()
    assert run_id(first, 1) == run_id(first, 1)
    assert len({run_id(first, 1), run_id(first, 2), run_id(uuid4(), 1)}) == 3


@pytest.mark.parametrize("cancel", [False, True])
def test_an_object_whose_wishes_are_followed_already_changes_nothing_but_a_cancellation(cancel: bool) -> None:
    known = recording(object_uid="u", priority=3, paused=False, retry=2)
    changes = decided(
        replace(known, videos=(video(run=run(priority=3)),)), wish=Wish(uid="u", priority=3, retry=2, cancel=cancel)
    )
    assert changes.cancelled == ([known.id] if cancel else [])
    assert not changes.wishes


def test_an_object_that_was_made_anew_is_taken_for_the_old_one() -> None:
    known = recording(object_uid="old")
    changes = decided(known, wish=Wish(uid="new"), deleted=["old"])
    assert (changes.wishes, changes.cancelled) == ({known.id: Wish(uid="new")}, [])


def test_a_retry_is_followed_once_and_not_while_it_is_cancelled() -> None:
    failed = recording(state=RecordSetState.FAILED, videos=(), object_uid="u", reason="Timeout")
    assert decided(failed, wish=Wish(uid="u", retry=1)).retried == [failed.id]
    assert decided(failed, wish=Wish(uid="u", retry=1, cancel=True)).retried == []
    assert decided(replace(failed, retry=1), wish=Wish(uid="u", retry=1)) == NOTHING


@pytest.mark.parametrize(
    ("state", "cancelled"),
    [(RecordSetState.UPLOADED, True), (RecordSetState.RENDERING, True), (RecordSetState.FAILED, False)],
)
def test_a_deleted_object_cancels_what_is_in_work_only(state: RecordSetState, cancelled: bool) -> None:
    known = recording(state=state, object_uid="u", reason="Timeout", videos=())
    changes = decided(known, deleted=["u"])
    assert changes.dismissed == [known.id]
    assert changes.cancelled == ([known.id] if cancelled else [])


def test_more_than_can_be_ended_at_a_time_wait_and_nothing_of_it_is_forgotten() -> None:
    many = [recording(name=f"r-{number}", object_uid=f"u-{number}") for number in range(MOST_ENDED + 5)]
    changes = decided(*many, deleted=[f"u-{number}" for number in range(MOST_ENDED + 5)])
    assert len(changes.cancelled) == MOST_ENDED
    assert changes.dismissed == changes.cancelled


def test_an_obsolete_run_that_has_its_job_still_holds_the_next_one() -> None:
    crowded = recording(videos=(video(crowded=True),))
    assert decided(crowded).held == [crowded.videos[0].run_id]
    held = recording(videos=(video(crowded=True, run=run(not_before=HELD_UNTIL)),))
    assert decided(held) == NOTHING
    assert decided(replace(held, videos=(replace(held.videos[0], crowded=False),))).freed == [held.videos[0].run_id]


def test_a_run_that_pauses_before_its_next_attempt_is_not_freed() -> None:
    assert decided(recording(videos=(video(run=run(state="RETRY", not_before=NOW + timedelta(hours=1))),))) == NOTHING


def test_without_a_queue_nothing_is_enqueued_or_moved() -> None:
    new = recording(videos=(video(run=None, run_id=None), video(run=run(queue="old"))))
    assert decided(new, queue=None) == NOTHING
    changes = decided(new)
    assert [item.profile for item in changes.enqueued] == ["hd"]
    assert changes.moved == [new.videos[1].run_id]


def test_what_is_being_deleted_is_left_alone() -> None:
    assert decided(recording(state=RecordSetState.DELETING, videos=(video(run=None),))) == NOTHING


@pytest.mark.parametrize(("place", "shown"), [(1, 1), (9, 9), (10, 10), (11, 20), (99, 100), (100, 100), (301, 400)])
def test_far_places_are_rounded(place: int, shown: int) -> None:
    assert rounded_up(place) == shown


@given(st.integers(1, 10**6))
def test_a_rounded_place_is_never_better_and_never_much_worse(place: int) -> None:
    assert place <= rounded_up(place) < 2 * place + 1


def test_places_follow_priority_then_age_and_skip_what_is_paused_or_at_work() -> None:
    def waits(name: str, **fields: Any) -> Recording:
        paused = fields.pop("paused", False)
        return recording(name=name, paused=paused, videos=(video(run=run(**fields)),))

    later = NOW + timedelta(minutes=1)
    found = [
        waits("late", enqueued_at=later),
        waits("early"),
        waits("first", priority=9, enqueued_at=later),
        waits("last", priority=0),
        waits("paused", paused=True),
        waits("works", in_flight=True),
    ]
    places = queue_positions(found, 5)
    names: dict[UUID, str] = {item.id: item.name for item in found}
    assert {names[key]: place for key, place in places.items()} == {"first": 1, "early": 2, "late": 3, "last": 4}


def test_progress_is_that_of_all_videos_that_are_wanted() -> None:
    done = video(state="RENDERED")
    assert progress([done, video(state="RENDERING", progress_percent=20.0)]) == 60
    assert progress([done, video(state="FAILED")]) == 100
    assert progress([video(state="FAILED")]) is None
    assert progress([video()]) == 0


@pytest.mark.parametrize(
    ("record_id", "own"),
    [
        ("183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1554230749920", True),
        ("Upper", False),
        ("a..b", False),
        ("a.-b", False),
        ("with space", False),
        ("x" * 64, False),
        (".".join(["x" * 63] * 4), False),
        ("", False),
        ("recording-1", False),
    ],
)
def test_a_recording_is_named_by_its_id_where_that_can_be_a_name(record_id: str, own: bool) -> None:
    identifier = uuid4()
    assert recording_name(record_id, identifier) == (record_id if own else f"recording-{identifier}")
