"""BBBNodes that lead to one server are known by the meetings that they list, and stay so until something changes."""

import dataclasses

import pytest

from b3lb.db.node_states import NodePoll
from b3lb.meetings.model import Listing
from b3lb_jobs.core.duplicates import duplicates_of
from tests.unit.meeting_rows import same
from tests.unit.poll_rounds import READY, poll

NODES = [poll(number) for number in range(1, 6)]
MARKED = poll(2, dataclasses.replace(READY, duplicate_of=1, duplicate_of_revision=1))
EMPTY = Listing(())


def found(polls: list[NodePoll], listings: dict[int, Listing]) -> dict[int, int]:
    return {node_id: older.node_id for node_id, older in duplicates_of(polls, listings).items()}


def test_nodes_that_list_one_meeting_are_one_server() -> None:
    listings = {
        3: Listing((same(1), same(2))),
        1: Listing((same(1), same(2))),
        2: Listing((same(7),)),
        4: EMPTY,
        5: Listing((same(2), same(9))),
    }
    assert found(NODES, listings) == {3: 1, 5: 1}


def test_all_nodes_of_a_server_are_the_oldest_one_s_whoever_answers_with_whom() -> None:
    assert found([NODES[0], MARKED, NODES[2]], {2: Listing((same(1),)), 3: Listing((same(1),))}) == {2: 1, 3: 1}


def test_servers_with_meetings_of_their_own_are_not_the_same() -> None:
    assert found(NODES, {1: Listing((same(1), same(2))), 2: Listing((same(3),))}) == {}


@pytest.mark.parametrize(
    "listings",
    [{}, {1: EMPTY, 2: EMPTY}, {1: Listing((same(1),))}, {1: Listing((same(1),)), 2: EMPTY}],
    ids=["neither answers", "no meetings", "one answers", "a meeting begins between the polls"],
)
def test_what_was_found_holds_while_the_server_proves_nothing(listings: dict[int, Listing]) -> None:
    assert found([NODES[0], MARKED], listings) == {2: 1}


@pytest.mark.parametrize(
    "polls",
    [
        [MARKED],
        [poll(1, revision=2), MARKED],
        [NODES[0], dataclasses.replace(MARKED, revision=2)],
    ],
    ids=["older one gone", "older one changed", "itself changed"],
)
def test_what_was_found_is_over_when_one_of_the_two_is_gone_or_changed(polls: list[NodePoll]) -> None:
    assert found(polls, {1: EMPTY, 2: EMPTY}) == {}


def test_what_was_found_is_over_when_both_list_other_meetings() -> None:
    """A name that leads elsewhere now: nothing changed in the BBBNodes."""
    assert found([NODES[0], MARKED], {1: Listing((same(1),)), 2: Listing((same(2),))}) == {}
