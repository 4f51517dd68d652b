"""A farm with tenants holds meetings as a load balancer creates them, and keeps the truth about each secret."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.farm.render import get_meetings
from dev.farm.schema import check_get_meetings
from dev.farm.tenants import Secret, parse_secret, split, tenant_secrets
from dev.farm.truth import secret_detail, secret_truths, tenant_detail
from dev.farm.world import (
    MeetingEndedError,
    MeetingExistsError,
    UnknownMeetingError,
    UnknownUserError,
    UserExistsError,
    World,
)

TENANTS = [("UNIA", 0), ("UNIA", 1), ("UNIB", 7)]


def busy_world(seed: int = 2) -> World:
    return World(seed=seed, nodes=2, meetings=16, attendees=4, tenants=TENANTS)


def empty_world() -> World:
    return World(nodes=1, meetings=0, tenants=TENANTS)


@pytest.mark.parametrize(
    ("meeting_id", "secret", "client_id"),
    [
        ("UNIA-001-abc", Secret("UNIA", 1), "abc"),
        ("AB-000-a-b\nc", Secret("AB", 0), "a-b\nc"),
        ("UNIA-001-" + "x" * 240, Secret("UNIA", 1), "x" * 240),
        ("UNIA-001-" + "x" * 241, None, "UNIA-001-" + "x" * 241),
        ("UNIA-1-abc", None, "UNIA-1-abc"),
        ("unia-001-abc", None, "unia-001-abc"),
        ("A-001-abc", None, "A-001-abc"),
        ("UNIA-001-", None, "UNIA-001-"),
    ],
)
def test_a_prefix_is_told_from_a_lookalike(meeting_id: str, secret: Secret | None, client_id: str) -> None:
    assert split(meeting_id) == (secret, client_id)


def test_secrets_are_dealt_out_among_tenants() -> None:
    secrets = tenant_secrets(20, 35)
    assert len(set(secrets)) == 35
    assert len({secret.slug for secret in secrets}) == 20
    assert tenant_secrets(2) == [("UNIA", 0), ("UNIB", 0)]
    assert all(parse_secret(str(secret)) == secret for secret in tenant_secrets(60))


@pytest.mark.parametrize(("tenants", "secrets"), [(-1, None), (2, 1), (0, 1), (1, 1001), (703, 703)])
def test_impossible_numbers_of_secrets_are_refused(tenants: int, secrets: int | None) -> None:
    with pytest.raises(ValueError, match="each needs one"):
        tenant_secrets(tenants, secrets)


def test_what_names_no_secret_is_refused() -> None:
    for text in ("UNIA", "UNIA-1", "unia-001", "UNIA-001-x", ""):
        with pytest.raises(ValueError, match="not like"):
            parse_secret(text)


def test_every_kind_of_meeting_occurs() -> None:
    """Every secret's, foreign ones, breakout rooms without prefix, origins that are missing or empty, own metadata."""
    world = World(seed=2, nodes=6, meetings=16, attendees=2, tenants=TENANTS)
    for _ in range(100):
        world.step()
    meetings = [meeting for node in world.nodes.values() for meeting in node.meetings.values()]
    assert {meeting.secret for meeting in meetings} == {None, *(Secret(*secret) for secret in TENANTS)}
    ordinary = [meeting for meeting in meetings if meeting.breakout is None]
    assert all(meeting.secret == split(meeting.meeting_id)[0] for meeting in ordinary)
    assert all((meeting.secret is not None) == ("b3lb-secret" in meeting.metadata) for meeting in ordinary)
    rooms = [meeting for meeting in meetings if meeting.breakout is not None]
    assert rooms
    assert all(split(room.meeting_id)[0] is None for room in rooms)
    parents = {meeting.internal_id: meeting.secret for meeting in meetings}
    assert all(room.secret == parents[room.breakout.parent_internal_id] for room in rooms if room.breakout)
    for key in ("bbb-origin", "bbb-origin-server-name"):
        origins = [meeting.metadata.get(key) for meeting in ordinary]
        assert None in origins
        assert "" in origins
    for node in world.nodes.values():
        check_get_meetings(get_meetings(node))


def test_without_tenants_no_meeting_has_a_prefix() -> None:
    world = World(seed=2, nodes=2, meetings=16, attendees=4)
    assert not secret_truths(world)
    assert all(meeting.secret is None for node in world.nodes.values() for meeting in node.meetings.values())


def test_the_truth_about_each_secret_is_what_an_observer_would_have_written_down() -> None:
    world = busy_world(seed=5)
    joined: defaultdict[Secret, set[tuple[str, str]]] = defaultdict(set)
    created: defaultdict[Secret, set[str]] = defaultdict(set)
    for _ in range(300):
        present: defaultdict[Secret, list[str]] = defaultdict(list)
        attendees: defaultdict[Secret, int] = defaultdict(int)
        for node in world.nodes.values():
            for meeting in node.meetings.values():
                if meeting.secret is not None:
                    present[meeting.secret].append(meeting.internal_id)
                    created[meeting.secret].add(meeting.internal_id)
                    attendees[meeting.secret] += len(meeting.attendees)
                    joined[meeting.secret] |= {(meeting.internal_id, user.user_id) for user in meeting.attendees}
        for truth in secret_truths(world):
            secret = Secret(truth.slug, truth.sub_id or 0)
            assert truth.meetings == len(present[secret])
            assert truth.attendees == attendees[secret]
            assert truth.users_joined == len(joined[secret])
            assert truth.meetings_created == len(created[secret])
            assert truth.meetings_ended == len(created[secret]) - len(present[secret])
        world.step()
    assert sum(truth.meetings_ended for truth in secret_truths(world)) > 20


def test_a_tenant_is_the_sum_of_its_secrets() -> None:
    world = busy_world()
    parts = [secret_detail(world, Secret("UNIA", sub_id)) for sub_id in (0, 1)]
    whole = tenant_detail(world, "UNIA")
    assert whole.sub_id is None
    for name in ("meetings", "attendees", "listeners", "voices", "videos", "moderators", "users_joined"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts) > 0
    assert {meeting.internal_meeting_id for meeting in whole.meeting_list} == {
        meeting.internal_meeting_id for part in parts for meeting in part.meeting_list
    }
    assert [meeting.begun_at for meeting in whole.meeting_list] == sorted(
        meeting.begun_at for meeting in whole.meeting_list
    )


def test_a_user_who_comes_back_is_counted_once() -> None:
    world = empty_world()
    node = world.nodes["node-001"]
    world.begin(node, meeting_id="UNIA-001-room", attendees=2)
    world.join(node, "UNIA-001-room", count=1, user_ids=["w_me"])
    world.leave(node, "UNIA-001-room", count=0, user_ids=["w_me"])
    meeting = world.join(node, "UNIA-001-room", count=0, user_ids=["w_me"])
    truth = secret_detail(world, Secret("UNIA", 1))
    assert (truth.attendees, truth.users_joined) == (4, 4)
    assert truth.meeting_list[0].user_ids[-1] == "w_me"
    world.leave(node, "UNIA-001-room", count=100)
    assert not meeting.running
    world.end(node, "UNIA-001-room")
    truth = secret_detail(world, Secret("UNIA", 1))
    assert (truth.meetings, truth.attendees, truth.users_joined, truth.meetings_ended) == (0, 0, 4, 1)


def test_users_who_return_from_a_breakout_room_are_known_to_the_parent() -> None:
    world = empty_world()
    node = world.nodes["node-001"]
    world.begin(node, meeting_id="UNIB-007-room", attendees=5)
    parent = world.open_breakouts(node, "UNIB-007-room", rooms=2)
    rooms = list(parent.breakout_rooms)
    assert secret_detail(world, Secret("UNIB", 7)).meetings == 3
    moved = node.meetings[rooms[0]].attendees[0].user_id.rsplit("-", 1)[0]
    world.join(node, rooms[0], count=1)
    world.join(node, "UNIB-007-room", count=0, user_ids=[moved])
    for room in rooms:
        world.end(node, room)
    assert len(parent.attendees) == len({user.user_id for user in parent.attendees}) == 6
    assert parent.ever_joined == {user.user_id for user in parent.attendees}
    assert secret_detail(world, Secret("UNIB", 7)).meetings_ended == 2


def test_ending_everything_is_booked() -> None:
    world = busy_world()
    before = sum(truth.meetings for truth in secret_truths(world))
    for node in world.nodes.values():
        world.end_all(node)
    assert before == sum(truth.meetings_ended for truth in secret_truths(world)) > 0
    assert not any(truth.meetings for truth in secret_truths(world))


def test_what_cannot_be_done_is_refused_and_changes_nothing() -> None:
    world = empty_world()
    node = world.nodes["node-001"]
    meeting = world.begin(node, meeting_id="UNIA-000-room", attendees=3)
    users = [user.user_id for user in meeting.attendees]
    with pytest.raises(UnknownMeetingError):
        world.join(node, "room")
    with pytest.raises(UserExistsError):
        world.join(node, "UNIA-000-room", user_ids=[users[0]])
    with pytest.raises(UserExistsError):
        world.join(node, "UNIA-000-room", user_ids=["a", "a"])
    with pytest.raises(UnknownUserError):
        world.leave(node, "UNIA-000-room", user_ids=[users[0], "nobody"])
    assert [user.user_id for user in meeting.attendees] == users
    world.open_breakouts(node, "UNIA-000-room", rooms=1)
    with pytest.raises(MeetingExistsError):
        world.open_breakouts(node, "UNIA-000-room", rooms=1)
    with pytest.raises(MeetingExistsError):
        world.open_breakouts(node, meeting.breakout_rooms[0], rooms=1)
    meeting.forcibly_ended = True
    with pytest.raises(MeetingEndedError):
        world.join(node, "UNIA-000-room")


def test_a_clock_that_goes_wrong_shows_in_what_the_node_creates() -> None:
    world = empty_world()
    node = world.nodes["node-001"]
    node.clock_offset = -90.5
    meeting = world.begin(node, meeting_id="UNIA-000-room")
    assert meeting.create_time == meeting.begun_at - 90_500
    assert meeting.internal_id.endswith(f"-{meeting.create_time}")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(["step", "join", "leave", "rooms", "end"]), max_size=40))
def test_the_books_agree_whatever_is_done(seed: int, actions: list[str]) -> None:
    world = World(seed=seed, nodes=1, meetings=8, attendees=3, tenants=TENANTS)
    node = world.nodes["node-001"]
    for action in actions:
        world.step()
        for meeting_id in list(node.meetings)[:1]:
            meeting = node.meetings[meeting_id]
            match action:
                case "join" if not meeting.forcibly_ended:
                    world.join(node, meeting_id, count=2)
                case "leave":
                    world.leave(node, meeting_id, count=2)
                case "rooms" if not (meeting.forcibly_ended or meeting.breakout or meeting.breakout_rooms):
                    world.open_breakouts(node, meeting_id, rooms=2)
                case "end":
                    world.end(node, meeting_id)
                case _:
                    pass
        check_get_meetings(get_meetings(node))
        for truth in secret_truths(world):
            assert truth.meetings_created == truth.meetings + truth.meetings_ended
            assert truth.users_joined >= truth.attendees
