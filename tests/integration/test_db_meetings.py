"""Meetings in the database: how they begin, change, hide, come back and end, and how their secrets are read."""

import dataclasses
import os
from datetime import UTC, datetime, timedelta

import pytest

from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.meetings import AbsentNode, load_absent_nodes, load_attribution, write_meetings
from b3lb.db.node_states import write_states
from b3lb.db.ticks import heartbeat
from b3lb.meetings.model import KnownMeeting, MeetingChanges, MeetingState
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import BEGAN, LATER, Meetings, user_hashes

pytestmark = pytest.mark.integration


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    return Meetings(farm)


def test_a_meeting_comes_back_as_it_was_written(meetings: Meetings) -> None:
    parent = meetings.meeting("m-1", "anna", "ben")
    breakout = meetings.meeting("m-2", owner=None, parent_internal_id="m-1", node_id=meetings.nodes["bbb-2"])
    assert meetings.write(breakout, parent) == 2
    assert meetings.known() == [
        KnownMeeting(
            id=meetings.id("m-1"),
            node_id=meetings.nodes["bbb-1"],
            internal_id="m-1",
            meeting_id="UNI-001-m-1",
            secret_id=meetings.secrets["uni-001"],
            parent_internal_id=None,
            state=MeetingState.OPEN,
            first_seen_at=BEGAN,
            last_seen_at=None,
            lost_at=None,
            attendees=2,
            digest=parent.digest,
            has_element=True,
        ),
        KnownMeeting(
            id=meetings.id("m-2"),
            node_id=meetings.nodes["bbb-2"],
            internal_id="m-2",
            meeting_id="UNI-001-m-2",
            secret_id=None,
            parent_internal_id="m-1",
            state=MeetingState.OPEN,
            first_seen_at=BEGAN,
            last_seen_at=None,
            lost_at=None,
            attendees=0,
            digest=breakout.digest,
            has_element=False,
        ),
    ]


def test_every_column_is_stored_and_binary_values_of_any_length_stay_whole(meetings: Meetings) -> None:
    writes = [
        meetings.meeting(
            f"m-{size}",
            node_id=meetings.nodes[f"bbb-{1 + size % 2}"],
            element=os.urandom(size) if size % 3 else None,
            user_hashes=os.urandom(size // 8 * 8),
            digest=os.urandom(16),
            listeners=size,
        )
        for size in (0, 1, 7, 8, 64, 900, 5000, 70_000)
    ]
    assert meetings.write(*writes) == len(writes)
    names = [item.name for item in dataclasses.fields(writes[0])]
    assert set(meetings.columns(*names)) == {tuple(getattr(write, name) for name in names) for write in writes}


def test_a_change_replaces_all_but_the_times_of_the_first_sight(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    later = meetings.meeting(
        "m-1",
        "anna",
        "ben",
        owner="uni-002",
        created_at=LATER,
        first_seen_at=LATER,
        meeting_id="UNI-002-x",
        origin="",
        origin_server="other",
        voices=0,
    )
    assert meetings.write(later) == 1
    names = [item.name for item in dataclasses.fields(later)]
    (stored,) = meetings.columns(*names)
    expected = dataclasses.replace(later, created_at=BEGAN, first_seen_at=BEGAN)
    assert dict(zip(names, stored, strict=True)) == {name: getattr(expected, name) for name in names}


def test_users_are_counted_each_time_they_come_and_not_while_they_stay(meetings: Meetings) -> None:
    counts = []
    for users in (["anna", "ben"], ["anna", "ben"], ["ben", "cleo"], ["anna", "ben", "cleo"], [], ["ben"]):
        meetings.write(meetings.meeting("m-1", *users))
        counts += meetings.column("attendees_joined")
    assert counts == [2, 2, 3, 4, 4, 5]


def test_the_same_meeting_on_two_nodes_is_two(meetings: Meetings) -> None:
    other = meetings.meeting("m-1", "cleo", node_id=meetings.nodes["bbb-2"])
    meetings.write(meetings.meeting("m-1", "anna", "ben"), other)
    assert meetings.column("attendees_joined") == [2, 1]
    meetings.end(meetings.known()[0].id)
    assert [known.node_id for known in meetings.known()] == [meetings.nodes["bbb-2"]]


def test_a_lost_meeting_keeps_when_it_was_seen_and_is_found_as_it_was(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    (before,) = meetings.known()
    assert meetings.lose(before.id) == 1
    assert meetings.lose(before.id, at=LATER + timedelta(hours=1)) == 0
    (lost,) = meetings.known()
    assert lost.lost_at is not None
    assert lost == dataclasses.replace(before, state=MeetingState.LOST, last_seen_at=LATER, lost_at=lost.lost_at)
    ((age,),) = meetings.farm.rows("SELECT extract(epoch FROM clock_timestamp() - lost_at)::float FROM meetings")
    assert 0 <= age < 10
    assert meetings.find(lost.id) == 1
    assert meetings.find(lost.id) == 0
    assert meetings.known() == [before]


def test_a_lost_meeting_that_changed_meanwhile_is_open_again(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    meetings.lose(meetings.id())
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    (known,) = meetings.known()
    assert (known.state, known.last_seen_at, known.lost_at) == (MeetingState.OPEN, None, None)
    assert meetings.column("attendees_joined") == [2]


def test_an_ended_meeting_has_no_element_is_not_loaded_and_is_neither_lost_nor_found(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    number = meetings.id()
    assert meetings.end(number) == 1
    assert meetings.known() == []
    assert (meetings.lose(number), meetings.find(number), meetings.end(number)) == (0, 0, 0)
    assert meetings.farm.rows("SELECT state, element, last_seen_at, lost_at FROM meetings") == [
        ("ended", None, LATER, None)
    ]


def test_an_ended_meeting_that_is_listed_again_is_the_same_one_and_open(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna", "ben"))
    (before,) = meetings.known()
    meetings.end(before.id)
    again = meetings.meeting("m-1", "anna", "cleo", created_at=LATER, first_seen_at=LATER)
    assert meetings.write(again) == 1
    assert meetings.known() == [dataclasses.replace(before, digest=again.digest)]
    assert meetings.farm.rows("SELECT created_at, ended_at, attendees_joined FROM meetings") == [(BEGAN, None, 3)]


def test_an_unknown_node_or_an_id_that_no_index_takes_loses_nothing_but_itself(meetings: Meetings) -> None:
    bad = [meetings.meeting(node_id=12345), meetings.meeting("\N{SNOWMAN}" * 1024), meetings.meeting("x" * 2001)]
    assert meetings.write(*bad, meetings.meeting("good", "anna"), meetings.meeting("y" * 2000)) == 2
    assert meetings.column("internal_id") == ["good", "y" * 2000]


def test_a_meeting_that_is_given_twice_is_written_once_as_it_was_last(meetings: Meetings) -> None:
    assert meetings.write(meetings.meeting("m-1", "anna"), meetings.meeting("m-1", "ben", "cleo")) == 1
    assert meetings.farm.rows("SELECT attendees, attendees_joined FROM meetings") == [(2, 2)]


def test_characters_that_postgresql_cannot_store_are_replaced_also_in_ids(meetings: Meetings) -> None:
    for users in (["anna"], ["anna", "ben"]):
        twins = [meetings.meeting(name, *users) for name in ("\x00" * 600, "\N{REPLACEMENT CHARACTER}" * 600, "\ud800")]
        assert meetings.write(*twins) == 2
    assert meetings.columns("internal_id", "attendees_joined") == [("?", 2), ("\N{REPLACEMENT CHARACTER}" * 600, 2)]


def test_texts_that_postgresql_cannot_store_do_not_lose_the_round(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", origin="NUL \x00 and \ud800", origin_server="a \\u0000 'quoted'"))
    assert meetings.farm.rows("SELECT origin, origin_server FROM meetings") == [
        ("NUL \ufffd and ?", "a \\u0000 'quoted'")
    ]


@pytest.mark.parametrize("number", [1, 300])
def test_any_number_of_changes_takes_five_statements(meetings: Meetings, number: int) -> None:
    meetings.write(*[meetings.meeting(f"{kind}-{i}") for kind in ("lost", "end", "old") for i in range(number)])
    meetings.lose(*[meetings.id(f"lost-{i}") for i in range(number)])
    changes = MeetingChanges(
        writes=tuple(meetings.meeting(f"new-{i}", "anna") for i in range(number)),
        found=tuple(meetings.id(f"lost-{i}") for i in range(number)),
        lost={meetings.id(f"old-{i}"): LATER for i in range(number)},
        ended={meetings.id(f"end-{i}"): LATER for i in range(number)},
    )
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        with count_statements(meetings.farm.engine) as counter:
            assert write_meetings(connection, changes, at=LATER) == 4 * number
        assert counter.count == 5
        with count_statements(meetings.farm.engine) as counter:
            assert write_meetings(connection, MeetingChanges(), at=LATER) == 0
        assert counter.count == 0


def test_the_same_changes_once_more_change_nothing(meetings: Meetings) -> None:
    meetings.write(*[meetings.meeting(name, "anna") for name in ("ending", "losing", "finding")])
    meetings.lose(meetings.id("finding"))
    changes = MeetingChanges(
        writes=(meetings.meeting("new", "ben"),),
        found=(meetings.id("finding"),),
        lost={meetings.id("losing"): LATER},
        ended={meetings.id("ending"): LATER},
    )
    looks = []
    for _ in range(2):
        with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
            write_meetings(connection, changes, at=LATER)
        looks.append((meetings.farm.rows("SELECT * FROM meetings ORDER BY id"), meetings.counters()))
    assert looks[0] == looks[1]


def test_meetings_of_deleted_and_disabled_nodes_are_loaded_and_those_of_other_namespaces_are_not(
    meetings: Meetings,
) -> None:
    meetings.write(meetings.meeting("m-1"), meetings.meeting("m-2", node_id=meetings.nodes["bbb-2"]))
    meetings.farm.run("UPDATE nodes SET deleted_at = now() WHERE name = 'bbb-1'")
    meetings.farm.run("UPDATE nodes SET state = 'Disabled' WHERE name = 'bbb-2'")
    assert [known.internal_id for known in meetings.known()] == ["m-1", "m-2"]
    meetings.farm.run("UPDATE nodes SET namespace = 'other' WHERE name = 'bbb-1'")
    assert [known.internal_id for known in meetings.known()] == ["m-2"]


def test_nodes_that_are_not_polled_but_have_meetings_are_told_with_the_time_of_their_last_good_poll(farm: Farm) -> None:
    names = ["active", "blocked", "deleted", "disabled", "empty", "orphan", "private"]
    meetings = Meetings(farm)
    meetings.nodes = {
        **farm.fill(
            [farm.node(name, cluster="private" if name == "private" else "default") for name in names],
            [farm.cluster(lost_meetings_seconds=60), farm.cluster("private", blocked_reason="CASecretNotFound")],
        ),
        **meetings.nodes,
    }
    meetings.write(*[meetings.meeting(name, node_id=meetings.nodes[name]) for name in names if name != "empty"])
    meetings.write(meetings.meeting("past", node_id=meetings.nodes["empty"]))
    meetings.end(meetings.id("past"))
    farm.run("UPDATE nodes SET deleted_at = now() WHERE name IN ('deleted', 'empty')")
    farm.run("UPDATE nodes SET state = 'Disabled' WHERE name = 'disabled'")
    farm.run("UPDATE nodes SET blocked_reason = 'SecretNotFound' WHERE name IN ('blocked', 'orphan')")
    farm.run("UPDATE nodes SET cluster_id = NULL WHERE name = 'orphan'")
    beat = BEGAN + timedelta(minutes=1)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        states = {"blocked": farm.state(failures=2), "disabled": farm.state()}
        write_states(connection, [(meetings.nodes[name], state, 1.0, BEGAN) for name, state in states.items()])
        lease = Lease(name="l", holder="pod", token=1)
        heartbeat(connection, "default", "check-nodes", tick_at=beat, started_at=beat, lease=lease, summary={})
        absent = load_absent_nodes(connection, "default")
    ids = meetings.nodes
    assert sorted(absent, key=lambda node: node.node_id) == [
        AbsentNode(ids["blocked"], name="blocked", deleted=False, seen_at=BEGAN, lost_meetings_seconds=60),
        AbsentNode(ids["deleted"], name="deleted", deleted=True, seen_at=None, lost_meetings_seconds=60),
        AbsentNode(ids["disabled"], name="disabled", deleted=False, seen_at=beat, lost_meetings_seconds=60),
        AbsentNode(ids["orphan"], name="orphan", deleted=False, seen_at=None, lost_meetings_seconds=86400),
        AbsentNode(ids["private"], name="private", deleted=False, seen_at=None, lost_meetings_seconds=86400),
    ]


def test_a_prefix_belongs_to_secrets_that_exist_whether_or_not_they_may_be_used(farm: Farm) -> None:
    secrets = [
        farm.api_secret(sub_id=0),
        farm.api_secret(sub_id=1, enabled=False),
        farm.api_secret(sub_id=2, secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret"),
        farm.api_secret(sub_id=3),
        farm.api_secret("off", 1),
        farm.api_secret("taken", 1),
        farm.api_secret("gone", 1),
    ]
    tenants = [
        farm.tenant(),
        farm.tenant("off", enabled=False),
        farm.tenant("taken", blocked_reason="SlugInUse", blocked_message="UNI is taken"),
        farm.tenant("gone"),
    ]
    ids = farm.fill_tenants(tenants, secrets)
    farm.run("UPDATE secrets SET deleted_at = now() WHERE name = 'uni-003'")
    farm.run("UPDATE tenants SET deleted_at = now() WHERE name = 'gone'")
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert load_attribution(connection, "default") == {
            ("UNI", 0): ids["uni-000"],
            ("UNI", 1): ids["uni-001"],
            ("UNI", 2): ids["uni-002"],
            ("OFF", 1): ids["off-001"],
        }
        assert load_attribution(connection, "other") == {}
    assert counter.count == 2


def test_two_operators_with_one_database_and_the_same_slug_keep_each_to_the_secrets_of_its_namespace(
    farm: Farm,
) -> None:
    """Neither knows of the other, so both tenants are accepted; their meetings are never mixed."""
    other = Farm(farm.engine)
    other.namespace = "other"
    ids = [each.fill_tenants([each.tenant()], [each.api_secret()])["uni-001"] for each in (farm, other)]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        found = [load_attribution(connection, each.namespace) for each in (farm, other)]
    assert found == [{("UNI", 1): ids[0]}, {("UNI", 1): ids[1]}]
    assert ids[0] != ids[1]


def test_user_hashes_of_an_ended_meeting_tell_who_was_there_when_it_comes_back(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    meetings.end(meetings.id())
    assert meetings.column("user_hashes") == [user_hashes("anna")]


def test_times_are_utc_and_exact_to_the_microsecond(meetings: Meetings) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123457, tzinfo=UTC)
    meetings.write(meetings.meeting("m-1", first_seen_at=moment, created_at=moment))
    (known,) = meetings.known()
    assert known.first_seen_at == moment
    assert known.first_seen_at.utcoffset() == timedelta(0)
