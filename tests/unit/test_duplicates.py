"""Two BBBNodes that lead to one server are noticed by the meetings that both list."""

from b3lb.meetings.model import Listing
from b3lb_jobs.core.duplicates import same_servers
from tests.unit.meeting_rows import same


def test_nodes_that_list_one_meeting_are_one_server() -> None:
    listings = {
        3: Listing((same(1), same(2))),
        1: Listing((same(1), same(2))),
        2: Listing((same(7),)),
        4: Listing(()),
        5: Listing((same(1),)),
    }
    assert same_servers(listings) == [(1, 3), (1, 5)]


def test_servers_with_meetings_of_their_own_are_not_the_same() -> None:
    assert same_servers({1: Listing((same(1), same(2))), 2: Listing((same(3),))}) == []
