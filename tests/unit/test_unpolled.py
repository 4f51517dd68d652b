"""The list of nodes that a tick left out, from the job's IDs to the operator's question."""

import json

from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.unpolled import MOST_IDS, Unpolled

ids = st.sets(st.integers(1, 10_000), max_size=30)


def test_a_tick_that_left_nobody_out_adds_nothing_to_its_summary() -> None:
    assert Unpolled.of(undecryptable=(), unfinished=()).in_summary() == {}
    assert Unpolled.from_summary({"polled": 3}) == Unpolled()
    assert Unpolled().observed(1)


def test_lists_that_are_empty_are_absent_and_ids_are_sorted() -> None:
    found = Unpolled.of(undecryptable=[9, 2, 10], unfinished=()).in_summary()
    assert found == {"unpolled": {"undecryptable": [2, 9, 10]}}


@given(ids, ids)
def test_the_operator_reads_what_the_job_wrote(undecryptable: set[int], unfinished: set[int]) -> None:
    written = Unpolled.of(undecryptable=undecryptable, unfinished=unfinished)
    read = Unpolled.from_summary(json.loads(json.dumps({"polled": 1, **written.in_summary()})))
    assert read == written
    for node_id in range(1, 50):
        assert read.observed(node_id) == (node_id not in undecryptable | unfinished)
        assert read.undecryptable.may_hold(node_id) == (node_id in undecryptable)


def test_of_nodes_behind_a_full_list_nothing_is_known() -> None:
    everything = range(10, 10 + 2 * (MOST_IDS + 5), 2)
    made = Unpolled.of(undecryptable=(), unfinished=everything)
    read = Unpolled.from_summary(made.in_summary())
    assert len(made.in_summary()["unpolled"]["unfinished"]) == MOST_IDS
    last = everything[MOST_IDS - 1]
    assert [read.observed(node_id) for node_id in (9, 10, 11, last, last + 1, everything[-1])] == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]
