"""Chains, groups and chunks: what their definitions may be, and what is to be done next with their steps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.workflows import (
    InvalidWorkflowError,
    Move,
    StepState,
    WorkflowEnd,
    chain_move,
    group_move,
    handed_over,
    parse_workflow,
)

WAITING = {"state": "PENDING", "begun": False, "over": False}
BEGUN = {"state": "STARTED", "begun": True, "over": False}
RETRY = {"state": "RETRY", "begun": True, "over": False}
DONE = {"state": "SUCCESS", "begun": True, "over": True}
FAILED = {"state": "FAILURE", "begun": True, "over": True, "error": "the disk is full"}
REVOKED = {"state": "REVOKED", "begun": True, "over": True, "error": "by hand"}


def steps(*states: dict[str, Any]) -> list[StepState]:
    return [StepState(place=place, task="work", **state) for place, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "move"),
    [
        ([BEGUN, WAITING, WAITING], Move()),
        ([DONE, WAITING, WAITING], Move(begin=1)),
        ([DONE, RETRY, WAITING], Move()),
        ([DONE, DONE, WAITING], Move(begin=2)),
        ([DONE, DONE, DONE], Move(end=WorkflowEnd("SUCCESS"))),
        (
            [DONE, FAILED, WAITING],
            Move(end=WorkflowEnd("FAILURE", "step 2 (work): FAILURE: the disk is full")),
        ),
        ([REVOKED, WAITING, WAITING], Move(end=WorkflowEnd("REVOKED", "step 1 (work): REVOKED: by hand"))),
    ],
)
def test_a_chain_begins_one_step_after_the_other_and_ends_with_the_first_that_fails(
    states: list[dict[str, Any]], move: Move
) -> None:
    assert chain_move(steps(*states)) == move


@pytest.mark.parametrize(
    ("states", "move"),
    [
        ([BEGUN, DONE, FAILED], Move()),
        ([DONE, DONE, DONE], Move(end=WorkflowEnd("SUCCESS"))),
        (
            [DONE, FAILED, REVOKED],
            Move(
                end=WorkflowEnd(
                    "FAILURE",
                    "2 of 3 failed: step 2 (work): FAILURE: the disk is full; step 3 (work): REVOKED: by hand",
                )
            ),
        ),
        ([DONE, REVOKED], Move(end=WorkflowEnd("REVOKED", "1 of 2 failed: step 2 (work): REVOKED: by hand"))),
    ],
)
def test_a_group_ends_when_all_have_ended_and_names_which_failed(states: list[dict[str, Any]], move: Move) -> None:
    assert group_move(steps(*states)) == move


def test_of_many_failures_a_few_are_named() -> None:
    end = group_move(steps(*[FAILED] * 100)).end
    assert end is not None
    assert end.error is not None
    assert end.error.startswith("100 of 100 failed: step 1 (work)")
    assert end.error.endswith("; and 95 more")


def test_a_step_gets_the_result_before_it_only_where_it_says_as_what() -> None:
    assert handed_over({"a": 1}, None, {"x": 2}) == {"a": 1}
    assert handed_over({"a": 1}, "before", {"x": 2}) == {"a": 1, "before": {"x": 2}}


@given(count=st.integers(1, 500), size=st.integers(1, 600))
def test_every_item_is_in_exactly_one_chunk_in_order(count: int, size: int) -> None:
    found = parse_workflow({"chunks": {"task": "work", "items": list(range(count)), "size": size}})
    assert [item for step in found.steps for item in step.arguments["items"]] == list(range(count))
    assert all(len(step.arguments["items"]) <= size for step in found.steps)
    assert len(found.steps) == -(-count // size)


STEP = {"task": "work"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Input should be a valid dictionary"),
        ({}, "write exactly one of chain, group and chunks"),
        ({"chain": [STEP], "group": [STEP]}, "write exactly one of chain, group and chunks"),
        ({"chain": []}, "chain: List should have at least 1 item"),
        ({"chain": [STEP] * 101}, "chain: List should have at most 100 items"),
        ({"chain": [{"task": "work", "argument": {}}]}, "chain.0.argument: Extra inputs are not permitted"),
        ({"chain": [{"task": "work", "receives": "x"}]}, "the first step of a chain receives nothing"),
        ({"group": [{"task": "work", "receives": "x"}]}, "the steps of a group receive nothing"),
        ({"group": [{"task": "work", "priority": 10}]}, "group.0.priority: Input should be less than or equal to 9"),
        ({"chunks": {"task": "work", "items": [], "size": 1}}, "chunks.items: List should have at least 1 item"),
        ({"chunks": {"task": "work", "items": [1], "size": 0}}, "chunks.size: Input should be greater than"),
        ({"chunks": {"task": "work", "items": [1] * 1001, "size": 1}}, "more than 1000 chunks: write a larger size"),
        (
            {"chunks": {"task": "work", "items": [1], "size": 1, "arguments": {"items": [2]}}},
            "the argument items is that of the items",
        ),
        ({"chian": [STEP]}, "chian: Extra inputs are not permitted"),
    ],
)
def test_a_malformed_workflow_is_one_line_that_says_where(content: object, words: str) -> None:
    with pytest.raises(InvalidWorkflowError) as caught:
        parse_workflow(content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
