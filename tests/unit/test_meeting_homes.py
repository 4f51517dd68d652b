"""A meeting is known on one node, whatever becomes of the nodes that are its server."""

import dataclasses

from b3lb.meetings.homes import Homes, find_homes
from tests.unit.meeting_rows import known

ON_1 = known(1)
ON_2 = known(2, node_id=2, internal_id="i1")
NOTHING: frozenset[str] = frozenset()
SHARED = frozenset({"i1"})


def test_without_duplicates_every_meeting_stays() -> None:
    assert find_homes([ON_1, ON_2], oldest={}, heirs={}, listed={}) == Homes((ON_1, ON_2), {}, {})


def test_the_older_nodes_meeting_stays_and_the_duplicates_is_dropped() -> None:
    assert find_homes([ON_2, ON_1], oldest={2: 1}, heirs={}, listed={}) == Homes((ON_1,), {}, {2: 1})


def test_a_meeting_that_only_duplicates_know_moves_to_the_older_node_once() -> None:
    on_3 = known(3, node_id=3, internal_id="i1")
    moved = dataclasses.replace(ON_2, node_id=1)
    assert find_homes([ON_2, on_3], oldest={2: 1, 3: 1}, heirs={}, listed={}) == Homes((moved,), {2: 1}, {3: 1})


def test_a_meeting_follows_its_server_to_the_node_that_lists_it() -> None:
    moved = dataclasses.replace(ON_1, node_id=2)
    for listed in ({2: SHARED}, {1: NOTHING, 2: SHARED}, {}):
        assert find_homes([ON_1], oldest={}, heirs={1: 2}, listed=listed) == Homes((moved,), {1: 2}, {})


def test_a_meeting_stays_where_it_is_listed_or_when_nobody_lists_it() -> None:
    for listed in ({1: SHARED, 2: SHARED}, {1: SHARED}, {2: NOTHING}, {1: NOTHING, 2: NOTHING}):
        assert find_homes([ON_1], oldest={}, heirs={1: 2}, listed=listed) == Homes((ON_1,), {}, {})
