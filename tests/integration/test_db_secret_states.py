"""What secrets' meetings add up to: written when it changed, empty when it must be."""

import os

import pytest

from b3lb.db.engine import count_statements, transaction
from b3lb.db.secret_states import gauges, load_totals, write_totals
from b3lb.meetings.model import SecretTotals
from b3lb.meetings.totals import changed_lists
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings

pytestmark = pytest.mark.integration

EMPTY = SecretTotals()


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    return Meetings(farm)


def update(meetings: Meetings) -> int:
    """Do what a tick of the lists does; return how many rows were written."""
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        return write_totals(connection, changed_lists(load_totals(connection, "default")))


def noted(meetings: Meetings, *owners: str) -> list[SecretTotals]:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        found = gauges(connection, "default")
    return [found[meetings.secrets[owner]] for owner in owners or ("uni-000", "uni-001", "uni-002")]


def versions(meetings: Meetings) -> dict[str, int]:
    rows = meetings.farm.rows("SELECT name, list_version FROM secret_states JOIN secrets ON id = secret_id")
    return {str(name): int(version) for name, version in rows}


def reasons(meetings: Meetings) -> dict[str, str]:
    rows = meetings.farm.rows("SELECT name, reason FROM secret_states JOIN secrets ON id = secret_id")
    return {str(name): str(reason) for name, reason in rows}


def test_gauges_are_sums_over_open_meetings_and_sub_id_0_has_the_whole_tenants(meetings: Meetings) -> None:
    meetings.write(
        meetings.meeting("m-0", "dora", owner="uni-000"),
        meetings.meeting("m-1", "anna", "ben"),
        meetings.meeting("m-2", "cleo"),
        meetings.meeting("m-3", "emil", owner="uni-002", voices=20),
        meetings.meeting("lost", "finn"),
        meetings.meeting("ended", "gina"),
        meetings.meeting("nobody's", "hans", owner=None),
    )
    meetings.lose(meetings.id("lost"))
    meetings.end(meetings.id("ended"))
    assert update(meetings) == 3
    assert noted(meetings) == [
        SecretTotals(meetings=4, attendees=5, listeners=4, voices=26, videos=12, moderators=16),
        SecretTotals(meetings=2, attendees=3, listeners=2, voices=4, videos=6, moderators=8),
        SecretTotals(meetings=1, attendees=1, listeners=1, voices=20, videos=3, moderators=4),
    ]


def test_nothing_is_written_and_no_version_moves_while_nothing_changed(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    update(meetings)
    before = meetings.farm.rows("SELECT *, xmin::text FROM secret_states ORDER BY secret_id")
    assert update(meetings) == 0
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        assert write_totals(connection, load_totals(connection, "default")) == 0
    assert meetings.farm.rows("SELECT *, xmin::text FROM secret_states ORDER BY secret_id") == before


def test_a_change_gives_the_next_version_to_its_secret_and_to_sub_id_0_only(meetings: Meetings) -> None:
    update(meetings)
    assert versions(meetings) == {"uni-000": 1, "uni-001": 1, "uni-002": 1}
    meetings.write(meetings.meeting("m-1", "anna"))
    assert update(meetings) == 2
    assert versions(meetings) == {"uni-000": 2, "uni-001": 2, "uni-002": 1}
    # Another name on the door, the same numbers.
    meetings.write(meetings.meeting("m-1", "anna", digest=os.urandom(16)))
    assert update(meetings) == 2
    meetings.lose(meetings.id())
    assert update(meetings) == 2
    meetings.find(meetings.id())
    assert update(meetings) == 2
    assert versions(meetings) == {"uni-000": 5, "uni-001": 5, "uni-002": 1}


def test_an_element_that_comes_later_is_a_change_of_the_list(meetings: Meetings) -> None:
    meetings.write(meetings.meeting("m-1", element=None))
    update(meetings)
    meetings.write(meetings.meeting("m-1"))
    assert update(meetings) == 2


def test_a_disabled_secret_is_empty_and_its_meetings_still_are_the_tenants(farm: Farm) -> None:
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "anna"))
    update(meetings)
    farm.run("UPDATE secrets SET enabled = false WHERE name = 'uni-001'")
    assert update(meetings) == 1
    assert reasons(meetings) == {"uni-000": "", "uni-001": "Disabled", "uni-002": ""}
    whole = SecretTotals(meetings=1, attendees=1, listeners=1, voices=2, videos=3, moderators=4)
    assert noted(meetings) == [whole, EMPTY, EMPTY]
    farm.run("UPDATE secrets SET enabled = true")
    assert update(meetings) == 1
    assert noted(meetings) == [whole, whole, EMPTY]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE tenants SET enabled = false", "TenantDisabled"),
        ("UPDATE tenants SET deleted_at = now()", "TenantNotFound"),
        ("UPDATE tenants SET blocked_reason = 'SlugInUse'", "TenantNotAccepted"),
    ],
)
def test_a_tenant_that_may_not_be_used_empties_all_its_secrets(meetings: Meetings, change: str, reason: str) -> None:
    meetings.write(meetings.meeting("m-1", "anna"))
    update(meetings)
    meetings.farm.run(change)
    assert update(meetings) == 3
    assert set(reasons(meetings).values()) == {reason}
    assert noted(meetings) == [EMPTY] * 3
    assert update(meetings) == 0


def test_a_deleted_secret_has_no_gauges_is_emptied_once_and_comes_back_with_a_greater_version(farm: Farm) -> None:
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "anna"))
    update(meetings)
    farm.run("UPDATE secrets SET deleted_at = now() WHERE name = 'uni-001'")
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert set(gauges(connection, "default")) == {meetings.secrets["uni-000"], meetings.secrets["uni-002"]}
    assert update(meetings) == 2
    assert noted(meetings, "uni-000") == [EMPTY]
    assert update(meetings) == 0
    farm.run("UPDATE secrets SET deleted_at = NULL")
    assert update(meetings) == 2
    assert versions(meetings)["uni-001"] == 3


def test_sums_beyond_32_bits_are_as_large_as_a_gauge_can_be(meetings: Meetings) -> None:
    most = 2**31 - 1
    meetings.write(*[meetings.meeting(f"m-{number}", attendees=most, videos=most) for number in range(3)])
    assert update(meetings) == 3
    assert noted(meetings, "uni-001") == [
        SecretTotals(meetings=3, attendees=most, listeners=3, voices=6, videos=most, moderators=12)
    ]
    assert update(meetings) == 0


@pytest.mark.parametrize("number", [1, 60])
def test_any_number_of_secrets_takes_one_statement_each(farm: Farm, number: int) -> None:
    tenants = [farm.tenant(f"t{chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(number)]
    farm.fill_tenants(tenants, [farm.api_secret(tenant.name, sub_id) for tenant in tenants for sub_id in (0, 1)])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        with count_statements(farm.engine) as counter:
            rows = changed_lists(load_totals(connection, "default"))
            assert write_totals(connection, rows) == 2 * number
            assert len(gauges(connection, "default")) == 2 * number
        assert counter.count == 3
        with count_statements(farm.engine) as counter:
            assert write_totals(connection, []) == 0
        assert counter.count == 0


def test_other_namespaces_are_left_alone(meetings: Meetings) -> None:
    update(meetings)
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        assert load_totals(connection, "other") == []
        assert gauges(connection, "other") == {}
