"""The simulated farm's life follows from its seed and keeps its books in order."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.farm.model import MAXIMUM_LOAD, Meeting, Node
from dev.farm.render import get_meetings, meeting_element
from dev.farm.world import START_TIME, MeetingExistsError, UnknownMeetingError, World


def answers(world: World) -> list[bytes]:
    return [get_meetings(node) for node in world.nodes.values()]


def check_books(node: Node) -> None:
    """What must hold of a node at any time."""
    rooms = {room for meeting in node.meetings.values() for room in meeting.breakout_rooms}
    parents = {meeting.internal_id for meeting in node.meetings.values() if meeting.breakout_rooms}
    assert rooms == {key for key, meeting in node.meetings.items() if meeting.breakout is not None}
    assert len({meeting.internal_id for meeting in node.meetings.values()}) == len(node.meetings)
    assert 0 <= node.load <= MAXIMUM_LOAD
    for key, meeting in node.meetings.items():
        assert meeting.meeting_id == key
        assert meeting.breakout is None or meeting.breakout.parent_internal_id in parents
        assert not (meeting.attendees and meeting.end_time)
        assert not (meeting.forcibly_ended and meeting.running)
        assert meeting.has_user_joined or not meeting.attendees
        assert sum(attendee.presenter for attendee in meeting.attendees) <= 1
        assert not any(attendee.voice and attendee.listening_only for attendee in meeting.attendees)
        assert not any(attendee.muted and not attendee.voice for attendee in meeting.attendees)
        assert meeting.xml in {None, meeting_element(meeting)}


def test_the_same_seed_gives_the_same_life() -> None:
    first, second = World(seed=7, nodes=3), World(seed=7, nodes=3)
    assert answers(first) == answers(second)
    for _ in range(50):
        first.step()
        second.step()
    assert answers(first) == answers(second)
    assert [node.load for node in first.nodes.values()] == [node.load for node in second.nodes.values()]


def test_another_seed_gives_another_farm() -> None:
    assert answers(World(seed=1, nodes=1)) != answers(World(seed=2, nodes=1))


def test_asking_changes_nothing() -> None:
    asked, left_alone = World(seed=5, nodes=2), World(seed=5, nodes=2)
    for _ in range(30):
        asked.step()
        answers(asked)
        left_alone.step()
    assert answers(asked) == answers(left_alone)


def test_a_node_begins_with_the_meetings_that_were_asked_for() -> None:
    world = World(nodes=4, meetings=20, attendees=15)
    for node in world.nodes.values():
        assert len(node.meetings) == 20
        assert node.breakout_count == 4
        check_books(node)
    mean = sum(node.attendee_count for node in world.nodes.values()) / 80
    assert 11 < mean < 18
    assert list(world.nodes) == ["node-001", "node-002", "node-003", "node-004"]


@pytest.mark.parametrize(("meetings", "attendees"), [(0, 0), (0, 5), (1, 0), (3, 0), (9, 1)])
def test_small_farms_keep_their_books_in_order(meetings: int, attendees: int) -> None:
    world = World(nodes=2, meetings=meetings, attendees=attendees)
    for _ in range(200):
        for node in world.nodes.values():
            check_books(node)
            assert meetings or not node.meetings
            assert attendees or not node.attendee_count
        world.step()


def test_everything_happens_within_a_thousand_steps() -> None:
    """Meetings begin and end, users come, go, speak, listen, show themselves, and breakout rooms open and close."""
    world = World(seed=11, nodes=1, meetings=8, attendees=5)
    node = world.nodes["node-001"]
    seen: Counter[str] = Counter()
    known: dict[str, tuple[int, int, int, int]] = {}
    for _ in range(1000):
        world.step()
        check_books(node)
        now = {key: figures(meeting) for key, meeting in node.meetings.items()}
        seen["begun"] += len(now.keys() - known.keys())
        seen["ended"] += len(known.keys() - now.keys())
        seen["forcibly ended"] += sum(meeting.forcibly_ended for meeting in node.meetings.values())
        seen["breakouts"] += node.breakout_count > 0
        seen["no breakouts"] += node.breakout_count == 0
        for key in now.keys() & known.keys():
            for name, before, after in zip(
                ("users", "voices", "listeners", "videos"), known[key], now[key], strict=True
            ):
                seen[f"more {name}"] += after > before
                seen[f"fewer {name}"] += after < before
        known = now
    assert {name for name, number in seen.items() if number} == set(seen)
    assert seen["begun"] > 20
    assert world.now > START_TIME + 1000 * 5000


def figures(meeting: Meeting) -> tuple[int, int, int, int]:
    return len(meeting.attendees), meeting.voice_count, meeting.listener_count, meeting.video_count


def test_an_ended_meeting_is_listed_for_one_more_step() -> None:
    world = World(seed=2, nodes=1, meetings=10, attendees=3)
    node = world.nodes["node-001"]
    ended = 0
    for _ in range(300):
        going = [meeting for meeting in node.meetings.values() if meeting.forcibly_ended]
        world.step()
        for meeting in going:
            ended += 1
            assert meeting.end_time > 0
            assert meeting.meeting_id not in node.meetings
    assert ended > 5


def test_users_of_breakout_rooms_count_once() -> None:
    """Opening and closing breakout rooms moves users and leaves their number alone."""
    world = World(seed=1, nodes=1, meetings=8, attendees=4)
    node = world.nodes["node-001"]
    parent = next(meeting for meeting in node.meetings.values() if meeting.breakout_rooms)
    total, in_parent = node.attendee_count, len(parent.attendees)
    rooms = list(parent.breakout_rooms)
    in_rooms = sum(len(node.meetings[room].attendees) for room in rooms)
    assert in_rooms == 8
    for room in rooms:
        world.end(node, room)
    assert node.attendee_count == total
    assert len(parent.attendees) == in_parent + in_rooms
    assert len({attendee.user_id for attendee in parent.attendees}) == len(parent.attendees)
    check_books(node)


def test_ending_a_parent_ends_its_breakout_rooms() -> None:
    world = World(seed=1, nodes=1, meetings=8, attendees=4)
    node = world.nodes["node-001"]
    parent = next(meeting for meeting in node.meetings.values() if meeting.breakout_rooms)
    world.end(node, parent.meeting_id)
    assert len(node.meetings) == 5
    check_books(node)


def test_a_meeting_that_is_created_again_has_another_internal_id() -> None:
    world = World(nodes=1, meetings=0)
    node = world.nodes["node-001"]
    first = world.begin(node, meeting_id="same", name="N", attendees=2)
    world.end(node, "same")
    second = world.begin(node, meeting_id="same", name="N", attendees=2)
    assert first.internal_id.partition("-")[0] == second.internal_id.partition("-")[0]
    assert first.internal_id != second.internal_id
    assert second.internal_id.endswith(f"-{second.create_time}")


def test_a_meeting_cannot_be_created_twice() -> None:
    world = World(nodes=1, meetings=0)
    node = world.nodes["node-001"]
    world.begin(node, meeting_id="same")
    with pytest.raises(MeetingExistsError):
        world.begin(node, meeting_id="same")


def test_an_unknown_meeting_cannot_end() -> None:
    world = World(nodes=1, meetings=0)
    with pytest.raises(UnknownMeetingError):
        world.end(world.nodes["node-001"], "none")


def test_a_pinned_load_stays() -> None:
    world = World(nodes=1)
    node = world.nodes["node-001"]
    node.pinned_load = 4711
    world.step()
    assert node.load == 4711


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(["step", "begin", "end", "ask"]), max_size=40))
def test_books_are_in_order_whatever_is_done(seed: int, actions: list[str]) -> None:
    world = World(seed=seed, nodes=1, meetings=8, attendees=3)
    node = world.nodes["node-001"]
    for action in actions:
        match action:
            case "step":
                world.step()
            case "begin":
                world.begin(node)
            case "end" if node.meetings:
                world.end(node, node.random.choice(list(node.meetings)))
            case _:
                get_meetings(node)
        check_books(node)
