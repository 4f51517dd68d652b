"""Whatever is known and whatever a round says: what may happen to meetings, and what never does."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from b3lb.meetings.life import LOST_AFTER, NodeVerdict, Verdict, decide_meetings, known_digests
from b3lb.meetings.model import KnownMeeting, MeetingChanges, MeetingState, SeenMeeting
from tests.unit.meeting_rows import ATTRIBUTION, GONE, KEPT, NOW, UNHEALTHY, known, listed, lost, seen

NODES = (1, 2, 3)
NAMES = ("ALPHA-001-m", "ALPHA-000-m", "BETA-000-m", "GAMMA-001-m", "m")
Verdicts = Mapping[int, NodeVerdict]


@st.composite
def farms(draw: st.DrawFn) -> tuple[list[KnownMeeting], dict[int, NodeVerdict]]:
    """Return meetings, each internal ID at most once per node, and a verdict for some of the nodes."""
    meetings = []
    places = draw(st.sets(st.tuples(st.sampled_from(NODES), st.integers(1, 4))))
    for row_id, (node_id, number) in enumerate(sorted(places), start=100):
        hours = draw(st.sampled_from([0.5, 23.9, 24.0, 50.0]))
        meeting = draw(st.sampled_from([known(row_id), lost(row_id, hours=hours)]))
        meetings.append(
            dataclasses.replace(
                meeting,
                node_id=node_id,
                internal_id=f"i{number}",
                meeting_id=draw(st.sampled_from(NAMES)) + str(number),
                secret_id=draw(st.sampled_from([None, 10, 11, 20, 30])),
                parent_internal_id=draw(st.sampled_from([None, None, "i1", "i9"])),
                has_element=draw(st.booleans()),
                first_seen_at=draw(st.sampled_from([meeting.first_seen_at, NOW])),
            )
        )
    digests = known_digests(meetings, ATTRIBUTION)
    verdicts = {}
    for node_id in draw(st.sets(st.sampled_from(NODES))):
        numbers = draw(st.lists(st.integers(1, 6), unique=True, max_size=6))
        answer = listed(*(draw(_seen(number, digests.get(node_id, {}))) for number in numbers))
        verdicts[node_id] = draw(st.sampled_from([answer, answer, KEPT, UNHEALTHY, GONE]))
    return meetings, verdicts


@st.composite
def _seen(draw: st.DrawFn, number: int, digests: Mapping[str, bytes]) -> SeenMeeting:
    """Return a meeting as the parser does: without details if its digest was known."""
    made = seen(
        number,
        digest=draw(st.sampled_from([b"digest", b"changed"])),
        meeting_id=draw(st.sampled_from(NAMES)) + str(number),
        parent_id=draw(st.sampled_from([None, None, "i1", "ALPHA-001-m1", "i9"])),
    )
    unchanged = digests.get(made.internal_id) == made.digest
    return dataclasses.replace(made, details=None) if unchanged else made


def decided(meetings: Sequence[KnownMeeting], verdicts: Verdicts) -> MeetingChanges:
    return decide_meetings(meetings, verdicts, ATTRIBUTION, now=NOW, begun_at=NOW)


def internal_ids(verdict: NodeVerdict) -> set[str]:
    return set() if verdict.listing is None else {meeting.internal_id for meeting in verdict.listing.meetings}


@given(farms())
def test_a_meeting_ends_by_a_healthy_node_without_it_by_a_day_of_loss_or_with_its_node(
    farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]],
) -> None:
    meetings, verdicts = farm
    changes = decided(meetings, verdicts)
    for meeting in meetings:
        verdict = verdicts.get(meeting.node_id)
        match verdict:
            case None:
                ends = False
            case NodeVerdict(kind=Verdict.LISTED):
                ends = meeting.internal_id not in internal_ids(verdict) and meeting.first_seen_at < NOW
            case NodeVerdict(kind=Verdict.GONE):
                ends = True
            case _:
                ends = meeting.lost_at is not None and NOW - meeting.lost_at >= LOST_AFTER
        assert (meeting.id in changes.ended) == ends


@given(farms())
def test_an_unhealthy_node_hides_all_its_meetings_and_nothing_else_hides_any(
    farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]],
) -> None:
    meetings, verdicts = farm
    hidden = {
        meeting.id
        for meeting in meetings
        if meeting.state is MeetingState.OPEN and verdicts.get(meeting.node_id) == UNHEALTHY
    }
    assert decided(meetings, verdicts).lost.keys() == hidden


@given(farms())
def test_every_listed_meeting_is_open_afterwards_and_each_meeting_changes_in_one_way_only(
    farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]],
) -> None:
    meetings, verdicts = farm
    changes = decided(meetings, verdicts)
    by_place = {(meeting.node_id, meeting.internal_id): meeting for meeting in meetings}
    written = [(write.node_id, write.internal_id) for write in changes.writes]
    rows = [by_place[place].id for place in written if place in by_place]
    touched = [*rows, *changes.found, *changes.lost, *changes.ended]
    assert len(written) == len(set(written))
    assert len(touched) == len(set(touched))
    for node_id, verdict in verdicts.items():
        if verdict.kind is not Verdict.LISTED:
            assert node_id not in {place[0] for place in written}
            continue
        for internal_id in internal_ids(verdict):
            before = by_place.get((node_id, internal_id))
            is_open = before is not None and before.state is MeetingState.OPEN and before.id not in touched
            assert is_open or (node_id, internal_id) in written or (before is not None and before.id in changes.found)


@given(farms())
def test_times_are_in_order(farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]]) -> None:
    meetings, verdicts = farm
    changes = decided(meetings, verdicts)
    first_seen = {meeting.id: meeting.first_seen_at for meeting in meetings}
    for row_id, last_seen_at in {**changes.lost, **changes.ended}.items():
        assert first_seen[row_id] <= last_seen_at <= NOW
    assert all(write.created_at <= write.first_seen_at <= NOW for write in changes.writes)


@given(farms())
def test_each_node_is_judged_as_if_it_were_alone(farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]]) -> None:
    meetings, verdicts = farm
    together = decided(meetings, verdicts)
    apart = [
        decided([meeting for meeting in meetings if meeting.node_id == node_id], {node_id: verdict})
        for node_id, verdict in sorted(verdicts.items())
    ]
    assert together.writes == tuple(write for changes in apart for write in changes.writes)
    assert set(together.found) == {row_id for changes in apart for row_id in changes.found}
    assert together.lost == {key: value for changes in apart for key, value in changes.lost.items()}
    assert together.ended == {key: value for changes in apart for key, value in changes.ended.items()}


@given(farms())
def test_the_same_round_again_changes_nothing_but_times(
    farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]],
) -> None:
    meetings, verdicts = farm
    after = applied(meetings, decided(meetings, verdicts))
    digests = known_digests(after, ATTRIBUTION)
    again = {
        node_id: dataclasses.replace(
            verdict,
            listing=verdict.listing
            and dataclasses.replace(
                verdict.listing,
                meetings=tuple(
                    dataclasses.replace(meeting, details=None)
                    if digests.get(node_id, {}).get(meeting.internal_id) == meeting.digest
                    else meeting
                    for meeting in verdict.listing.meetings
                ),
            ),
        )
        for node_id, verdict in verdicts.items()
    }
    changes = decide_meetings(after, again, ATTRIBUTION, now=NOW, begun_at=NOW - timedelta(microseconds=1))
    assert changes == MeetingChanges()


def applied(meetings: Sequence[KnownMeeting], changes: MeetingChanges) -> list[KnownMeeting]:
    """Return what the database knows after ``changes``."""
    rows = {(meeting.node_id, meeting.internal_id): meeting for meeting in meetings if meeting.id not in changes.ended}
    for place, meeting in rows.items():
        if meeting.id in changes.lost:
            last_seen_at = changes.lost[meeting.id]
            rows[place] = dataclasses.replace(meeting, state=MeetingState.LOST, lost_at=NOW, last_seen_at=last_seen_at)
        if meeting.id in changes.found:
            rows[place] = dataclasses.replace(meeting, state=MeetingState.OPEN, lost_at=None, last_seen_at=None)
    for number, write in enumerate(changes.writes, start=1000):
        place = (write.node_id, write.internal_id)
        rows[place] = KnownMeeting(
            id=rows[place].id if place in rows else number,
            node_id=write.node_id,
            internal_id=write.internal_id,
            meeting_id=write.meeting_id,
            secret_id=write.secret_id,
            parent_internal_id=write.parent_internal_id,
            state=MeetingState.OPEN,
            first_seen_at=write.first_seen_at,
            last_seen_at=None,
            lost_at=None,
            attendees=write.attendees,
            digest=write.digest,
            has_element=write.secret_id is not None,
        )
    return list(rows.values())


@given(farms())
def test_a_meeting_never_changes_hands_but_by_its_prefix_or_without_one_by_its_parent(
    farm: tuple[list[KnownMeeting], dict[int, NodeVerdict]],
) -> None:
    meetings, verdicts = farm
    before = {(meeting.node_id, meeting.internal_id): meeting.secret_id for meeting in meetings}
    for write in decided(meetings, verdicts).writes:
        own = ATTRIBUTION.get((write.meeting_id.split("-")[0], 1 if "-001-" in write.meeting_id else 0))
        old = before.get((write.node_id, write.internal_id))
        if own is not None or write.parent_internal_id in (None, "i9"):
            assert write.secret_id == (old if own is None else own)
