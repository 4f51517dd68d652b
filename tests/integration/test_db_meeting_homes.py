"""When two nodes turn out to be one server, no time of the attendees is lost and none counts twice."""

from datetime import timedelta

import pytest

from tests.integration.database_farm import Farm
from tests.integration.database_meetings import LATER, Meetings

pytestmark = pytest.mark.integration

MINUTE = timedelta(minutes=1)
TIME = ("node_id", "participant_milliseconds", "attendees_since")


def on_both_nodes(farm: Farm) -> tuple[Meetings, int, int]:
    """Return a meeting of one user that the older node has since ``LATER``; the younger one does a minute later."""
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "a"))
    meetings.write(meetings.meeting("m-1", "a", node_id=meetings.nodes["bbb-2"]), at=LATER + MINUTE)
    older, younger = meetings.column("id")
    return meetings, older, younger


def test_the_time_that_only_the_younger_node_saw_goes_to_the_row_that_stays(farm: Farm) -> None:
    meetings, older, younger = on_both_nodes(farm)
    meetings.lose(older, at=LATER + MINUTE)
    healed = LATER + 3 * MINUTE
    meetings.write(dropped={younger: meetings.nodes["bbb-1"]}, found=(older,), at=healed)
    assert meetings.columns(*TIME) == [(meetings.nodes["bbb-1"], 3 * 60_000, healed)]
    meetings.end(older, at=healed + MINUTE)
    assert farm.rows("SELECT participant_milliseconds, meetings FROM counters") == [(4 * 60_000, 1)]


def test_the_time_that_both_nodes_saw_counts_once(farm: Farm) -> None:
    meetings, older, younger = on_both_nodes(farm)
    meetings.write(dropped={younger: meetings.nodes["bbb-1"]}, at=LATER + 3 * MINUTE)
    assert meetings.columns("id", *TIME) == [(older, meetings.nodes["bbb-1"], 0, LATER)]


def test_a_row_that_moves_takes_its_time_along(farm: Farm) -> None:
    meetings = Meetings(farm)
    meetings.write(meetings.meeting("m-1", "a", node_id=meetings.nodes["bbb-2"]))
    meetings.write(moved={meetings.id(): meetings.nodes["bbb-1"]}, at=LATER + MINUTE)
    assert meetings.columns(*TIME) == [(meetings.nodes["bbb-1"], 0, LATER)]
