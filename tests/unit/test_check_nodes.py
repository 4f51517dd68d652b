"""The task check-nodes: which nodes a tick polls, which secrets can be read, and what it leaves for others."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from b3lb.bbb.client import NodeTarget
from b3lb.db.node_states import NodePoll
from b3lb.db.unpolled import Unpolled
from b3lb.health import (
    Observation,
)
from b3lb_jobs.core import check_nodes
from b3lb_jobs.core.api_secrets import SecretCache
from b3lb_jobs.core.check_nodes import CheckNodes, LoadedPolls
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import TaskContext
from tests.unit.poll_rounds import DOWN, KEYS, NOW, failed, poll, seen


def test_secrets_are_decrypted_once_per_revision() -> None:
    cache = SecretCache(KEYS, "default")
    first = poll(1)
    assert cache.read([first]) == ({1: "secret 1"}, {})
    # The cached value is used: this ciphertext could not be read.
    altered = dataclasses.replace(first, secret_ciphertext=b"x" * 40)
    assert cache.read([altered]) == ({1: "secret 1"}, {})
    assert cache.read([dataclasses.replace(altered, revision=2)]) == ({}, {1: "k1"})


def test_secrets_of_gone_nodes_are_forgotten_and_never_shown() -> None:
    cache = SecretCache(KEYS, "default")
    cache.read([poll(1), poll(2)])
    cache.keep_only([poll(2)])
    assert repr(cache) == "SecretCache(1 nodes)"


def test_a_secret_of_another_row_or_under_an_unknown_key_is_unreadable() -> None:
    copied = dataclasses.replace(poll(1), node_id=2, name="node-2")
    unknown = dataclasses.replace(poll(3), secret_key_id="gone")
    readable, unreadable = SecretCache(KEYS, "default").read([copied, unknown, poll(4)])
    assert readable == {4: "secret 4"}
    assert unreadable == {2: "k1", 3: "gone"}


def task(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Observation | float]) -> CheckNodes:
    """Return the task with a client that answers from ``answers``; a number is a poll that takes so many seconds."""
    made = CheckNodes(TaskContext("default", KEYS, tick_seconds=15, max_in_flight=2), jitter_source=lambda: 0.0)

    async def observe(target: NodeTarget) -> Observation:
        answer = answers[target.name]
        if isinstance(answer, Observation):
            return answer
        await asyncio.sleep(answer)
        return seen(seconds=answer)

    monkeypatch.setattr(made._client, "observe", observe)
    return made


@pytest.mark.looptime
async def test_a_poll_that_has_not_ended_in_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2)]
    slow = task(monkeypatch, {"node-1": seen(meetings=7), "node-2": 60.0})
    findings = await slow.work(LoadedPolls(polls, polls), at=NOW, seconds=6)
    assert [row[0] for row in findings.states] == [1]
    assert {key: findings.summary[key] for key in ("nodes", "polled", "unfinished", "changed")} == {
        "nodes": 2,
        "polled": 1,
        "unfinished": 1,
        "changed": 1,
    }
    assert findings.unpolled == Unpolled.of(undecryptable=(), unfinished=[2])
    assert findings.failure is None


async def test_unreadable_secrets_are_said_once_per_run_and_key_and_stand_in_the_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = task(monkeypatch, {"node-3": seen()})
    polls = [*(dataclasses.replace(poll(number), secret_key_id="gone") for number in (1, 2)), poll(3)]
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            findings = await made.work(LoadedPolls(polls, polls), at=NOW, seconds=5)
            assert findings.summary["undecryptable"] == {"gone": 2}
            assert findings.states == ()
            assert findings.summary["polled"] == 1
            assert findings.unpolled == Unpolled.of(undecryptable=[1, 2], unfinished=())
            assert findings.failure is None
    assert lines == [
        {
            "event": "API secrets cannot be decrypted; their nodes keep their state and are not polled",
            "key_id": "gone",
            "nodes": 2,
            "configured": "k1",
            "log_level": "warning",
        }
    ]


async def test_a_run_that_can_read_no_secret_at_all_fails_as_wrongly_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polls = [dataclasses.replace(poll(number), secret_key_id="gone") for number in (1, 2)]
    findings = await task(monkeypatch, {}).work(LoadedPolls(polls, polls), at=NOW, seconds=5)
    assert findings.failure is not None
    assert findings.failure.exit_code is ExitCode.CONFIGURATION
    assert str(findings.failure) == (
        "none of the API secrets of 2 nodes can be decrypted: they are encrypted with gone, B3LB_ENCRYPTION_KEYS of "
        "this pod has k1, or another key of that name"
    )
    assert findings.unpolled == Unpolled.of(undecryptable=[1, 2], unfinished=())


async def test_a_run_goes_on_while_a_node_in_back_off_has_a_secret_that_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unreadable = dataclasses.replace(poll(1), secret_key_id="gone")
    findings = await task(monkeypatch, {}).work(LoadedPolls([unreadable, poll(2)], [unreadable]), at=NOW, seconds=5)
    assert findings.failure is None


async def test_transitions_become_events_and_every_change_a_row_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2, None), poll(3, DOWN), poll(4), poll(5)]
    answers = {f"node-{n}": failed() for n in (1, 4, 5)} | {"node-2": seen(), "node-3": failed()}
    findings = await task(monkeypatch, answers).work(LoadedPolls(polls, polls), at=NOW, seconds=5)
    assert [(event.message, event.fields, event.warning) for event in findings.events] == [
        ("node is ready", {"node": "node-2", "reason": "Responding", "detail": ""}, False),
        (
            "mass failure: the nodes of the cluster keep their states",
            {"cluster_id": 1, "failed": 3, "polled": 3},
            True,
        ),
    ]
    assert [(row["object"], row["ready"], row["reason"]) for row in findings.changes] == [
        ("node/node-2", "- → True", "- → Responding"),
        ("node/node-3", "False", "Refused"),
        ("cluster/1", "", "AtRest → MassFailure"),
    ]


async def test_nothing_is_polled_without_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = await task(monkeypatch, {}).work(LoadedPolls([], []), at=NOW, seconds=0.0)
    assert (findings.states, findings.guards, findings.summary["polled"]) == ((), (), 0)
    assert (findings.unpolled, findings.failure) == (Unpolled(), None)


def test_the_time_needed_grows_with_time_outs_and_with_waiting_for_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    made = task(monkeypatch, {})
    slow = poll(9, timeout_seconds=30)
    assert made.seconds_needed(LoadedPolls([], [])) == 0.0
    assert made.seconds_needed(LoadedPolls([slow], [poll(1)])) == 6.0
    assert made.seconds_needed(LoadedPolls([], [poll(1), poll(2)])) == 6.0
    assert made.seconds_needed(LoadedPolls([], [poll(1), poll(2), slow])) == 31.5


def test_a_tick_must_have_the_longest_time_out_of_its_due_nodes_whatever_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = task(monkeypatch, {})
    slow = poll(9, timeout_seconds=30)
    assert made.least_seconds(LoadedPolls([slow], [])) == 0.0
    assert made.least_seconds(LoadedPolls([slow], [poll(1)])) == 6.0
    assert made.least_seconds(LoadedPolls([], [poll(1), poll(2), slow])) == 31.0


def test_nodes_in_back_off_are_left_out_and_failing_ones_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    later = dataclasses.replace(DOWN, next_poll_at=NOW + timedelta(seconds=1))
    polls = [poll(1, DOWN), poll(2, later), poll(3), poll(4, None), poll(5, later, revision=2)]
    asked: list[tuple[str, int]] = []

    def load_polls(_connection: object, namespace: str, *, tick_seconds: int) -> list[NodePoll]:
        asked.append((namespace, tick_seconds))
        return polls

    monkeypatch.setattr(check_nodes, "load_polls", load_polls)
    connection: Any = None
    loaded = task(monkeypatch, {}).load(connection, NOW)
    assert asked == [("default", 15)]
    assert [item.node_id for item in loaded.due] == [3, 4, 1, 5]
    assert loaded.polls == polls
