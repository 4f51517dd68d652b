"""When meetings begin, get lost, come back and end."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from b3lb.meetings.life import NodeVerdict, Verdict, decide_meetings, known_digests
from b3lb.meetings.model import KnownMeeting, MeetingChanges, MeetingWrite
from tests.unit.meeting_rows import (
    ATTRIBUTION,
    CREATE_TIME,
    CREATED_AT,
    FIRST_SEEN_AT,
    GONE,
    KEPT,
    NOW,
    SEEN_AT,
    TICK,
    UNHEALTHY,
    known,
    listed,
    lost,
    same,
    seen,
)

NOTHING = MeetingChanges()
AT_ONCE = timedelta(0)


def decided(meetings: Sequence[KnownMeeting], verdicts: Mapping[int, NodeVerdict]) -> MeetingChanges:
    return decide_meetings(meetings, verdicts, ATTRIBUTION, now=NOW, begun_at=NOW)


def only_write(meetings: Sequence[KnownMeeting], verdict: NodeVerdict) -> MeetingWrite:
    changes = decided(meetings, {1: verdict})
    (write,) = changes.writes
    assert changes == MeetingChanges(writes=(write,))
    return write


@pytest.mark.parametrize(
    ("meeting", "verdict", "expected"),
    [
        (known(1), listed(same(1)), NOTHING),
        (known(1), listed(seen(1)), NOTHING),
        (known(1), listed(), MeetingChanges(ended={1: SEEN_AT})),
        (known(1), KEPT, NOTHING),
        (known(1), UNHEALTHY, MeetingChanges(lost={1: SEEN_AT})),
        (known(1), GONE, MeetingChanges(ended={1: SEEN_AT})),
        (known(1), NodeVerdict(Verdict.UNHEALTHY, lost_after=AT_ONCE), MeetingChanges(ended={1: FIRST_SEEN_AT})),
        (known(1), NodeVerdict(Verdict.KEPT, lost_after=AT_ONCE), NOTHING),
        (lost(1), listed(same(1)), MeetingChanges(found=(1,))),
        (lost(1), listed(seen(1)), MeetingChanges(found=(1,))),
        (lost(1), listed(), MeetingChanges(ended={1: NOW - timedelta(hours=1) - TICK})),
        (lost(1), KEPT, NOTHING),
        (lost(1), UNHEALTHY, NOTHING),
        (lost(1), GONE, MeetingChanges(ended={1: NOW - timedelta(hours=1) - TICK})),
        (lost(1, hours=23.99), UNHEALTHY, NOTHING),
        (lost(1, hours=24), UNHEALTHY, MeetingChanges(ended={1: NOW - timedelta(hours=24) - TICK})),
        (lost(1, hours=24), KEPT, MeetingChanges(ended={1: NOW - timedelta(hours=24) - TICK})),
        (lost(1, hours=500), listed(same(1)), MeetingChanges(found=(1,))),
    ],
    ids=lambda value: "" if isinstance(value, MeetingChanges) else None,
)
def test_what_a_verdict_does_to_a_meeting(
    meeting: KnownMeeting, verdict: NodeVerdict, expected: MeetingChanges
) -> None:
    assert decided([meeting], {1: verdict}) == expected


def test_a_node_without_a_verdict_keeps_its_meetings() -> None:
    assert decided([known(1), lost(2, hours=90)], {}) == NOTHING


def test_a_poll_touches_no_meeting_of_another_node_even_with_the_same_ids() -> None:
    here, there = known(1), known(2, node_id=2, internal_id="i1", meeting_id="ALPHA-001-m1")
    assert decided([here, there], {1: listed(), 2: KEPT}) == MeetingChanges(ended={1: SEEN_AT})
    assert decided([here, there], {1: listed(same(1)), 2: UNHEALTHY}) == MeetingChanges(lost={2: SEEN_AT})


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=3)])
def test_a_meeting_that_was_created_during_the_poll_stays(after: timedelta) -> None:
    created = known(1, first_seen_at=NOW + after)
    assert decided([created], {1: listed()}) == NOTHING
    later = decide_meetings([created], {1: listed()}, ATTRIBUTION, now=NOW + TICK, begun_at=NOW + TICK)
    # It was never seen by a poll, so its first sight is its last.
    assert later == MeetingChanges(ended={1: NOW + after})


def test_a_meeting_that_is_not_listed_ends_although_the_clock_was_set_back_since_it_began() -> None:
    hours = timedelta(hours=5)
    begun = known(1, first_seen_at=NOW + hours)
    assert decided([begun], {1: listed()}) == MeetingChanges(ended={1: NOW + hours})


def test_no_meeting_was_last_seen_in_the_future() -> None:
    ahead = NodeVerdict(Verdict.GONE, None, NOW + timedelta(hours=5))
    assert decided([known(1)], {1: ahead}) == MeetingChanges(ended={1: NOW})


def test_a_room_that_was_created_again_between_two_polls_is_another_meeting() -> None:
    again = seen(2, digest=b"new", meeting_id="ALPHA-001-m1")
    changes = decided([known(1)], {1: listed(again)})
    assert [write.internal_id for write in changes.writes] == ["i2"]
    assert changes.ended == {1: SEEN_AT}


def test_a_new_meeting_is_written_with_all_that_is_known_of_it() -> None:
    assert only_write([], listed(seen(1, attendees=7))) == MeetingWrite(
        node_id=1,
        internal_id="i1",
        meeting_id="ALPHA-001-m1",
        secret_id=11,
        parent_internal_id=None,
        created_at=CREATED_AT,
        first_seen_at=NOW,
        attendees=7,
        listeners=1,
        voices=2,
        videos=1,
        moderators=1,
        origin="Moodle",
        origin_server="moodle.example.org",
        digest=b"digest",
        element=b"element",
        user_hashes=b"12345678",
    )


@pytest.mark.parametrize("before", [known(1), lost(1)])
def test_a_changed_meeting_is_written_and_keeps_its_first_sight(before: KnownMeeting) -> None:
    write = only_write([before], listed(seen(1, digest=b"changed")))
    assert (write.digest, write.first_seen_at, write.secret_id) == (b"changed", before.first_seen_at, 11)


@pytest.mark.parametrize("meeting_id", ["m1", "GAMMA-001-m1", "ALPHA-002-m1", "alpha-001-m1", "ALPHA-1-m1"])
def test_a_meeting_of_nobody_has_no_secret(meeting_id: str) -> None:
    write = only_write([], listed(seen(1, meeting_id=meeting_id)))
    assert (write.secret_id, write.meeting_id) == (None, meeting_id)


@pytest.mark.parametrize(
    ("create_time", "offset", "expected"),
    [
        (CREATE_TIME, timedelta(0), CREATED_AT),
        (CREATE_TIME + 90_000, timedelta(seconds=90), CREATED_AT),
        (CREATE_TIME - 86_400_000, timedelta(days=-1), CREATED_AT),
        (round(NOW.timestamp() * 1000), timedelta(0), NOW),
        (round(NOW.timestamp() * 1000) + 1, timedelta(0), NOW),
        (CREATE_TIME * 1000, timedelta(0), NOW),
        (10**30, timedelta(0), NOW),
        (0, timedelta(0), NOW),
        (-(10**30), timedelta(0), NOW),
        (CREATE_TIME // 1000, timedelta(0), NOW),
        (1_262_304_000_000, timedelta(0), CREATED_AT.replace(year=2010, month=1, day=1, hour=0, minute=0, second=0)),
        (1_262_303_999_999, timedelta(0), NOW),
    ],
)
def test_the_time_of_creation_is_by_our_clock_and_garbage_is_the_time_of_first_sight(
    create_time: int, offset: timedelta, expected: object
) -> None:
    assert only_write([], listed(seen(1, create_time=create_time), clock_offset=offset)).created_at == expected


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        (SEEN_AT - timedelta(hours=23), SEEN_AT - timedelta(hours=23)),
        (SEEN_AT - timedelta(days=40), SEEN_AT - timedelta(days=1)),
        (NOW + timedelta(seconds=1), NOW),
    ],
)
def test_a_meeting_that_its_node_did_not_list_before_is_not_weeks_old(created_at: datetime, expected: datetime) -> None:
    """A wrong clock would put weeks into the durations that are counted."""
    listing = listed(seen(1, create_time=round(created_at.timestamp() * 1000)))
    assert only_write([], dataclasses.replace(listing, listed_at=SEEN_AT)).created_at == expected


def test_a_listing_of_before_the_clock_was_set_back_bounds_nothing() -> None:
    created_at = NOW - timedelta(days=3)
    listing = listed(seen(1, create_time=round(created_at.timestamp() * 1000)))
    future = dataclasses.replace(listing, listed_at=NOW + timedelta(days=30))
    assert only_write([], future).created_at == created_at


@pytest.mark.parametrize("parent_id", ["i1", "ALPHA-001-m1"])
@pytest.mark.parametrize("parent", ["known", "listed before", "listed after"])
def test_a_breakout_room_belongs_to_its_parent_s_secret(parent_id: str, parent: str) -> None:
    breakout = seen(2, meeting_id="whatever", parent_id=parent_id)
    order = {"known": [same(1), breakout], "listed before": [seen(1), breakout], "listed after": [breakout, seen(1)]}
    changes = decided([known(1)] if parent == "known" else [], {1: listed(*order[parent])})
    (write,) = [write for write in changes.writes if write.internal_id == "i2"]
    assert (write.secret_id, write.parent_internal_id, write.element) == (11, "i1", b"element")


@pytest.mark.parametrize("parent_id", ["i1", "ALPHA-001-m1"])
@pytest.mark.parametrize("before", [[], [known(2, meeting_id="BETA-000-x", parent_internal_id="i1")]])
def test_a_breakout_room_with_a_prefix_of_its_own_gets_into_no_other_tenant_s_list(
    parent_id: str, before: list[KnownMeeting]
) -> None:
    breakout = seen(2, meeting_id="BETA-000-x", parent_id=parent_id)
    assert only_write([known(1), *before], listed(same(1), breakout)).secret_id == 20


def test_a_breakout_room_whose_own_prefix_is_nobody_s_goes_with_its_parent() -> None:
    breakout = seen(2, meeting_id="GAMMA-001-x", parent_id="i1")
    assert only_write([known(1)], listed(same(1), breakout)).secret_id == 11


def test_a_breakout_room_whose_parent_is_unknown_keeps_its_secret_or_goes_by_its_prefix() -> None:
    orphan = known(2, meeting_id="whatever", parent_internal_id="i1", secret_id=20)
    changed = seen(2, digest=b"changed", meeting_id="whatever", parent_id="i1")
    assert only_write([orphan], listed(changed)).secret_id == 20
    assert only_write([], listed(changed)).secret_id is None
    assert only_write([], listed(seen(2, meeting_id="BETA-000-x", parent_id="i1"))).secret_id == 20


def test_a_breakout_room_of_a_parent_that_ended_keeps_the_parent_s_internal_id() -> None:
    orphan = known(2, meeting_id="whatever", parent_internal_id="i1")
    changed = seen(2, digest=b"changed", meeting_id="whatever", parent_id="ALPHA-001-m1")
    assert only_write([orphan], listed(changed)).parent_internal_id == "i1"


def test_of_two_parents_with_one_id_a_breakout_room_belongs_to_the_one_that_is_listed_now() -> None:
    meetings = [lost(1, secret_id=20), known(3, meeting_id="ALPHA-001-m1")]
    listing = listed(same(3), seen(2, meeting_id="whatever", parent_id="ALPHA-001-m1"))
    assert decided(meetings, {1: listing}).writes[0].parent_internal_id == "i3"
    by_internal_id = listed(same(3), seen(2, meeting_id="whatever", parent_id="i1"))
    assert decided(meetings, {1: by_internal_id}).writes[0].parent_internal_id == "i1"


def test_a_meeting_outlives_its_secret_and_goes_to_the_one_that_has_its_prefix_now() -> None:
    changed = seen(1, digest=b"changed", meeting_id="GAMMA-001-x")
    assert only_write([known(1, secret_id=30)], listed(changed)).secret_id == 30
    moved = known(1, secret_id=30)
    assert only_write([moved], listed(seen(1))).secret_id == 11


def test_the_digests_of_unchanged_meetings_go_to_their_nodes() -> None:
    meetings = [known(1), lost(2, digest=b"other"), known(3, node_id=2, internal_id="i1"), known(4, secret_id=None)]
    assert known_digests(meetings, {}) == {1: {"i1": b"digest", "i2": b"other", "i4": b"digest"}, 2: {"i1": b"digest"}}


@pytest.mark.parametrize(
    ("meeting", "wanted"),
    [
        (known(1), False),
        (known(1, secret_id=None, has_element=False), True),
        (known(1, secret_id=20), True),
        (known(1, has_element=False), True),
        (known(1, meeting_id="nobody's", secret_id=None, has_element=False), False),
        (known(1, meeting_id="GAMMA-001-gone", secret_id=30), False),
        (known(1, meeting_id="x", secret_id=None, has_element=False, parent_internal_id="i9"), True),
        (known(1, meeting_id="x", parent_internal_id="i9"), False),
        (known(1, meeting_id="x", secret_id=20, parent_internal_id="gone"), False),
    ],
)
def test_a_meeting_whose_secret_became_known_is_read_again(meeting: KnownMeeting, wanted: bool) -> None:
    digests = known_digests([meeting, known(9)], ATTRIBUTION)
    assert ("i1" not in digests[1]) == wanted


def test_a_meeting_whose_secret_became_known_gets_it_although_its_element_is_the_same() -> None:
    meetings = [
        known(1, secret_id=None, has_element=False),
        known(2, secret_id=None, has_element=False, meeting_id="x", parent_internal_id="i1"),
    ]
    changes = decided(meetings, {1: listed(seen(2, meeting_id="x", parent_id="i1"), seen(1))})
    assert [(write.internal_id, write.secret_id) for write in changes.writes] == [("i2", 11), ("i1", 11)]
    assert all(write.element for write in changes.writes)
