"""What the operator says of limits is what admission goes by, whatever secrets a tenant has."""

from __future__ import annotations

import pytest

from b3lb.db.counters import Closed, Refusal, admit_meeting
from b3lb.db.engine import transaction
from b3lb.db.mirror import Snapshot, read_snapshot
from b3lb.meetings.model import SecretTotals
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings

pytestmark = pytest.mark.integration


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    """Two meetings of sub-id 0 and three of sub-id 1 are open, with a user each; others are lost, ended, nobody's."""
    meetings = Meetings(farm)
    owners = {"a": "uni-000", "b": "uni-000", "c": "uni-001", "d": "uni-001", "e": "uni-001", "x": "uni-002", "y": None}
    meetings.write(*[meetings.meeting(name, "anna", owner=owner) for name, owner in owners.items()])
    meetings.write(meetings.meeting("z", "anna"))
    meetings.lose(meetings.id("x"))
    meetings.end(meetings.id("z"))
    return meetings


def snapshot(meetings: Meetings) -> Snapshot:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        return read_snapshot(connection, meetings.farm.namespace)


def admit(meetings: Meetings, owner: str) -> Refusal | Closed | None:
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        return admit_meeting(connection, meetings.secrets[owner])


def of(number: int) -> SecretTotals:
    """Return what ``number`` meetings of the fixture add up to."""
    return SecretTotals(number, number, number, 2 * number, 3 * number, 4 * number)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("SELECT 1", id="all enabled"),
        pytest.param("UPDATE secrets SET enabled = false WHERE sub_id = 1", id="its secret disabled"),
        pytest.param("UPDATE secrets SET enabled = false WHERE sub_id = 0", id="sub-id 0 disabled"),
        pytest.param("UPDATE secrets SET deleted_at = now() WHERE sub_id = 0", id="sub-id 0 deleted"),
        pytest.param("UPDATE secrets SET deleted_at = now() WHERE sub_id = 1", id="its secret deleted"),
        pytest.param("UPDATE secrets SET deleted_at = now() WHERE sub_id <> 2", id="all with meetings deleted"),
    ],
)
def test_a_tenants_total_is_that_which_admission_goes_by(meetings: Meetings, change: str) -> None:
    """Asked by a secret without meetings of its own, with the least limit that refuses and with the next."""
    if change != "SELECT 1":
        meetings.farm.run(change)
    running = snapshot(meetings).tenants["uni"].running
    assert running == of(running.meetings)
    assert running.meetings == {"sub_id = 0": 3, "sub_id = 1": 2, "sub_id <> 2": 0}.get(
        change.partition("deleted_at = now() WHERE ")[2], 5
    )
    meetings.farm.run("UPDATE tenants SET meeting_limit = :limit", limit=running.meetings + 1)
    assert admit(meetings, "uni-002") is None
    if running.meetings:
        meetings.farm.run("UPDATE tenants SET meeting_limit = :limit", limit=running.meetings)
        refusal = admit(meetings, "uni-002")
        assert isinstance(refusal, Refusal)
        assert (refusal.tenant_wide, refusal.used) == (True, running.meetings)


@pytest.mark.parametrize(("owner", "number"), [("uni-000", 2), ("uni-001", 3), ("uni-002", 0)])
def test_a_secrets_own_total_is_that_which_admission_goes_by_also_for_sub_id_0(
    meetings: Meetings, owner: str, number: int
) -> None:
    assert snapshot(meetings).api_secrets[owner].running == of(number)
    limits = "UPDATE secrets SET meeting_limit = :limit"
    meetings.farm.run(limits, limit=number + 1)
    assert admit(meetings, owner) is None
    if number:
        meetings.farm.run(limits, limit=number)
        refusal = admit(meetings, owner)
        assert isinstance(refusal, Refusal)
        assert (refusal.tenant_wide, refusal.used) == (False, number)


@pytest.mark.parametrize(
    "change", ["enabled = false", "blocked_reason = 'SlugInUse', blocked_message = 'an older one has it'"]
)
def test_nothing_is_told_to_run_of_a_tenant_that_is_disabled_or_has_no_slug(meetings: Meetings, change: str) -> None:
    meetings.farm.run(f"UPDATE tenants SET {change}")  # noqa: S608 - from above
    assert snapshot(meetings).tenants["uni"].running == SecretTotals()


def test_sums_beyond_32_bits_are_told_as_the_greatest_number_that_has_them(meetings: Meetings) -> None:
    meetings.farm.run("UPDATE meetings SET attendees = 2147483647")
    assert snapshot(meetings).tenants["uni"].running.attendees == 2**31 - 1
