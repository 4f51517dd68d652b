"""The list that a secret sees: its open meetings in order, or the reason why there are none."""

import zlib
from datetime import timedelta

import pytest

from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.lists import SecretList, read_list
from b3lb.db.secret_states import load_totals, write_totals
from b3lb.db.ticks import heartbeat
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import BEGAN, LATER, Meetings

pytestmark = pytest.mark.integration


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    return Meetings(farm)


def read(meetings: Meetings, name: str = "uni-001") -> SecretList:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        found = read_list(connection, "default", name)
    assert found is not None
    return found


def texts(meetings: Meetings, name: str = "uni-001") -> list[str]:
    return [element.decode() for element in read(meetings, name).elements]


def test_a_list_holds_the_open_meetings_by_age_and_sub_id_0_those_of_the_tenant(meetings: Meetings) -> None:
    def element(name: str) -> bytes:
        return zlib.compress(name.encode(), 1)

    meetings.write(
        meetings.meeting("a", created_at=LATER, element=element("newest"), attendees=2),
        meetings.meeting("b", element=element("first of two"), attendees=3),
        meetings.meeting("lost", element=element("lost")),
        meetings.meeting("ended", element=element("ended")),
    )
    meetings.write(
        meetings.meeting("c", element=element("second of two"), attendees=4),
        meetings.meeting("d", created_at=BEGAN - timedelta(days=1), element=element("another's"), owner="uni-002"),
        meetings.meeting("e", created_at=BEGAN - timedelta(days=2), element=element("its own"), owner="uni-000"),
        meetings.meeting("f", element=None, owner=None),
        meetings.meeting("g", element=None),
    )
    meetings.lose(meetings.id("lost"))
    meetings.end(meetings.id("ended"))
    mine = ["first of two", "second of two", "newest"]
    assert texts(meetings) == mine
    assert (read(meetings).meetings, read(meetings).attendees) == (3, 9)
    assert texts(meetings, "uni-002") == ["another's"]
    assert texts(meetings, "uni-000") == ["its own", "another's", *mine]


def test_a_meeting_whose_node_is_lost_is_hidden_and_comes_back(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    before = read(meetings)
    meetings.lose(meetings.id())
    assert read(meetings).elements == []
    meetings.find(meetings.id())
    assert read(meetings) == before


@pytest.mark.parametrize(
    ("change", "reason", "whole"),
    [
        ("UPDATE secrets SET enabled = false WHERE name = 'uni-001'", "Disabled", 1),
        ("UPDATE tenants SET enabled = false", "TenantDisabled", 0),
    ],
)
def test_a_disabled_secret_or_tenant_sees_nothing_at_once_and_is_told_why(
    meetings: Meetings, change: str, reason: str, whole: int
) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    meetings.farm.run(change)
    found = read(meetings)
    assert (found.reason, found.elements, found.meetings, found.attendees) == (reason, [], 0, 0)
    assert read(meetings, "uni-000").meetings == whole


def test_a_list_tells_its_version_and_when_its_nodes_were_polled(meetings: Meetings) -> None:
    found = read(meetings)
    assert (found.version, found.as_of, found.reason) == (0, None, "")
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        write_totals(connection, load_totals(connection, "default"))
        lease = Lease(name="l", holder="pod", token=1)
        for namespace, task, at in (
            ("default", "check-nodes", LATER),
            ("default", "other", BEGAN),
            ("x", "check-nodes", BEGAN),
        ):
            heartbeat(connection, namespace, task, tick_at=at, started_at=at, lease=lease, summary={})
    found = read(meetings)
    assert (found.version, found.as_of) == (1, LATER)


def test_another_list_has_another_digest_although_nothing_gives_it_a_version(meetings: Meetings) -> None:
    def note() -> None:
        with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
            write_totals(connection, load_totals(connection, "default"))

    assert not read(meetings).version_is_current
    note()
    lists = [read(meetings)]
    assert lists[0].version_is_current
    for name in ("m-1", "m-2"):
        meetings.write(meetings.meeting(name, "anna"))
        lists.append(read(meetings))
    meetings.write(meetings.meeting("m-2", "anna", "ben", digest=b"another element."))
    lists.append(read(meetings))
    assert [(found.version, found.version_is_current) for found in lists[1:]] == [(1, False)] * 3
    assert len({found.digest for found in lists}) == 4
    note()
    assert (read(meetings).version, read(meetings).version_is_current, read(meetings).digest) == (
        2,
        True,
        lists[-1].digest,
    )
    meetings.farm.run("UPDATE tenants SET enabled = false")
    assert not read(meetings).version_is_current
    note()
    assert (read(meetings).version, read(meetings).version_is_current) == (3, True)


def test_an_unknown_or_deleted_secret_has_no_list(meetings: Meetings) -> None:
    meetings.farm.run("UPDATE secrets SET deleted_at = now() WHERE name = 'uni-002'")
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        assert read_list(connection, "default", "uni-999") is None
        assert read_list(connection, "default", "uni-002") is None
        assert read_list(connection, "other", "uni-001") is None


def test_meetings_of_a_deleted_secret_are_not_the_tenants(farm: Farm) -> None:
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "anna"))
    farm.run("UPDATE secrets SET deleted_at = now() WHERE name = 'uni-001'")
    assert texts(meetings, "uni-000") == []


@pytest.mark.parametrize("number", [0, 1, 200])
def test_a_list_of_any_length_takes_two_statements(meetings: Meetings, number: int) -> None:
    meetings.write(*[meetings.meeting(f"m-{n}") for n in range(number)])
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        with count_statements(meetings.farm.engine) as counter:
            found = read_list(connection, "default", "uni-000")
        assert counter.count == 2
    assert found is not None
    assert found.meetings == number


def test_elements_are_not_shown_in_logs(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", element=zlib.compress(b"attendeePW", 0)))
    assert "attendeePW" not in repr(read(meetings))
