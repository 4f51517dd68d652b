"""Requests by annotation: what is one, and precisely why something is not."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.control import LARGEST_REQUEST, REQUEST_PREFIX
from b3lb.db.task_queue import check_arguments
from b3lb.workflows import Step, Workflow
from b3lb_operator.manifests.requests import (
    DEEPEST,
    MOST,
    PurgeRequest,
    QueueRequest,
    RevokeRequest,
    RunRequest,
    WorkflowRequest,
    has_requests,
    read_requests,
)
from b3lb_operator.request_outcomes import KEPT_SECONDS, MOST_KEPT, RequestOutcome, RequestOutcomes
from tests.unit.operator_fakes import queue_manifest

ID = UUID("7b0c1f3e-0a5e-4f0b-9d0a-5d1b1c6a7e11")
STEP = Step(task="render")
OTHER = UUID("11111111-0a5e-4f0b-9d0a-5d1b1c6a7e11")
AROUND = 3
"""Levels of a request around an argument: itself, ``run`` and ``arguments``."""


def carrying(**requests: str) -> dict[str, Any]:
    manifest = queue_manifest(tasks=["check-nodes", "render"])
    manifest["metadata"]["annotations"] = {
        "other": "1",
        **{REQUEST_PREFIX + name: text for name, text in requests.items()},
    }
    return manifest


def read(content: object) -> QueueRequest:
    text = content if isinstance(content, str) else json.dumps(content)
    (request,) = read_requests(carrying(**{str(ID): text}))
    assert (request.annotation, request.id) == (f"{REQUEST_PREFIX}{ID}", ID)
    return request


def nested(times: int) -> str:
    """Return a request with a number that no table holds, deep within lists."""
    value = "[" * times + "1e999" + "]" * times
    return f'{{"run": {{"task": "render", "arguments": {{"a": {value}}}}}}}'


def test_what_is_as_deep_as_may_be_can_be_stored() -> None:
    action = read(nested(DEEPEST - AROUND)).action
    assert isinstance(action, RunRequest)
    assert check_arguments(action.arguments).count("[") == DEEPEST - AROUND


@pytest.mark.parametrize(
    ("content", "action"),
    [
        ({"run": {"task": "render"}}, RunRequest(task="render")),
        (
            {"run": {"task": "render", "arguments": {"id": 1}, "priority": 9}},
            RunRequest(task="render", arguments={"id": 1}, priority=9),
        ),
        ({"run": {"task": "render", "arguments": {}, "priority": None}}, RunRequest(task="render")),
        (
            {
                "workflow": {
                    "definition": {"chain": [{"task": "render"}, {"task": "check-nodes", "receives": "before"}]}
                }
            },
            WorkflowRequest(definition=Workflow(chain=[STEP, Step(task="check-nodes", receives="before")])),
        ),
        (
            {"workflow": {"definition": {"group": [{"task": "render"}]}, "priority": 9}},
            WorkflowRequest(definition=Workflow(group=[STEP]), priority=9),
        ),
        ({"revoke": str(OTHER)}, RevokeRequest(OTHER)),
        ({"purge": True}, PurgeRequest()),
    ],
)
def test_a_request_says_what_is_to_be_done(content: object, action: object) -> None:
    request = read(content)
    assert (request.action, request.refusal) == (action, "")


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        ("{", "a request is a JSON object"),
        ("[" * 4000, "a request is a JSON object"),
        ('{"purge": NaN}', "a request is a JSON object"),
        ([1], "a request is a JSON object"),
        (nested(DEEPEST - AROUND + 1), "a request has at most 64 levels of lists and objects"),
        (nested(700), "a request has at most 64 levels of lists and objects"),
        ({}, "a request has exactly one of run, workflow, revoke, purge"),
        ({"purge": True, "revoke": str(OTHER)}, "a request has exactly one of run, workflow, revoke, purge"),
        ({"purge": False}, "purge: Input should be True"),
        ({"stop": True}, "stop: Extra inputs are not permitted"),
        ({"run": {}}, "run.task: Field required"),
        ({"run": {"task": "render", "priority": 10}}, "run.priority: Input should be less than or equal to 9"),
        ({"run": {"task": "render", "priority": "9"}}, "run.priority: Input should be a valid integer"),
        ({"run": {"task": "render", "arguments": [1]}}, "run.arguments: Input should be a valid dictionary"),
        ({"run": {"task": "render", "image": "x"}}, "run.image: Extra inputs are not permitted"),
        ({"run": {"task": "nothing"}}, "the queue does not have the task 'nothing'; it has check-nodes, render"),
        ({"workflow": {"definition": {}}}, "workflow.definition: Value error, write exactly one of chain, group and"),
        (
            {"workflow": {"definition": {"chain": [{"task": "render"}, {"task": "nothing"}]}}},
            "the queue does not have the task 'nothing'",
        ),
        ({"revoke": "last"}, "revoke: Input should be a valid UUID"),
        (
            {"run": {"task": "render", "arguments": {"a": "x" * LARGEST_REQUEST}}},
            f"a request has at most {LARGEST_REQUEST} bytes",
        ),
    ],
)
def test_what_is_no_request_is_refused_with_a_line_that_says_why(content: object, refusal: str) -> None:
    request = read(content)
    assert request.action is None
    assert request.refusal.startswith(refusal)
    assert "\n" not in request.refusal


def test_an_annotation_that_names_no_uuid_is_refused() -> None:
    (request,) = read_requests(carrying(now='{"purge": true}'))
    assert (request.id, request.refusal) == (None, f"the annotation has to be called {REQUEST_PREFIX}<UUID>")


def test_a_queue_takes_so_many_requests_at_a_time_and_refuses_the_others() -> None:
    manifest = carrying(**{str(UUID(int=number)): '{"purge": true}' for number in range(MOST + 2)})
    requests = read_requests(manifest)
    assert [request.action is not None for request in requests] == [True] * MOST + [False] * 2
    assert requests[-1].id == UUID(int=MOST + 1)


def test_an_object_without_such_annotations_carries_no_request() -> None:
    assert not has_requests(queue_manifest())
    assert not has_requests(carrying())
    assert has_requests(carrying(x=""))
    assert read_requests(carrying()) == []


@given(st.text(max_size=200))
def test_whatever_an_annotation_holds_is_a_request_or_a_refusal(text: str) -> None:
    (request,) = read_requests(carrying(**{str(ID): text}))
    assert (request.action is None) != (request.refusal == "")


def test_outcomes_are_kept_for_ten_minutes_and_the_oldest_go_first() -> None:
    now = 0.0
    outcomes = RequestOutcomes(lambda: now)
    done = RequestOutcome("done", "", "farm")
    outcomes.note(ID, done)
    assert (outcomes.get(ID), outcomes.get(OTHER)) == (done, None)
    now = KEPT_SECONDS + 1
    assert outcomes.get(ID) is None
    for number in range(MOST_KEPT + 1):
        outcomes.note(UUID(int=number), done)
    assert outcomes.get(UUID(int=0)) is None
    assert outcomes.get(UUID(int=MOST_KEPT)) == done
