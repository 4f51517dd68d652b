"""The task check-nodes: which nodes a tick polls, which secrets can be read, and what it leaves for others."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from b3lb.bbb.client import NodeTarget, Poll
from b3lb.db.meetings import AbsentNode
from b3lb.db.node_states import NodePoll
from b3lb.db.unpolled import Unpolled
from b3lb.health import Observation
from b3lb.meetings.model import KnownMeeting, Listing
from b3lb_jobs.core import check_nodes
from b3lb_jobs.core.api_secrets import SecretCache
from b3lb_jobs.core.check_nodes import CheckNodes
from b3lb_jobs.core.poll_round import Loaded
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import TaskContext
from tests.unit.meeting_rows import ATTRIBUTION, known, lost, same
from tests.unit.meeting_rows import seen as meeting
from tests.unit.poll_rounds import DOWN, KEYS, NOW, READY, SEEN_AT, failed, poll, seen


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


def task(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Observation | Poll | float]) -> CheckNodes:
    """Return the task with a client that answers from ``answers``; a number is a poll that takes so many seconds."""
    made = CheckNodes(TaskContext("default", KEYS, tick_seconds=15, max_in_flight=2), jitter_source=lambda: 0.0)

    async def observe(target: NodeTarget, _known: Mapping[str, bytes]) -> Poll:
        answer = answers[target.name]
        if isinstance(answer, Poll):
            return answer
        if isinstance(answer, Observation):
            return Poll(answer, Listing(()) if answer.succeeded else None)
        await asyncio.sleep(answer)
        return Poll(seen(seconds=answer), Listing(()))

    monkeypatch.setattr(made._client, "observe", observe)
    return made


@pytest.mark.looptime
async def test_a_poll_that_has_not_ended_in_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2)]
    slow = task(monkeypatch, {"node-1": seen(meetings=7), "node-2": 60.0})
    findings = await slow.work(Loaded(polls, polls), at=NOW, seconds=6)
    assert [change["object"] for change in findings.changes] == ["node/node-1"]
    assert findings.write is not None
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
            findings = await made.work(Loaded(polls, polls), at=NOW, seconds=5)
            assert findings.summary["undecryptable"] == {"gone": 2}
            assert findings.write is None
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
    findings = await task(monkeypatch, {}).work(Loaded(polls, polls), at=NOW, seconds=5)
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
    findings = await task(monkeypatch, {}).work(Loaded([unreadable, poll(2)], [unreadable]), at=NOW, seconds=5)
    assert findings.failure is None


async def test_transitions_become_events_and_every_change_a_row_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [poll(1), poll(2, None), poll(3, DOWN), poll(4), poll(5)]
    answers = {f"node-{n}": failed() for n in (1, 4, 5)} | {"node-2": seen(), "node-3": failed()}
    findings = await task(monkeypatch, answers).work(Loaded(polls, polls), at=NOW, seconds=5)
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
    findings = await task(monkeypatch, {}).work(Loaded([], []), at=NOW, seconds=0.0)
    assert (findings.write, findings.changes, findings.summary["polled"]) == (None, (), 0)
    assert (findings.unpolled, findings.failure) == (Unpolled(), None)


def test_the_time_needed_grows_with_time_outs_and_with_waiting_for_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    made = task(monkeypatch, {})
    slow = poll(9, timeout_seconds=30)
    assert made.seconds_needed(Loaded([], [])) == 0.0
    assert made.seconds_needed(Loaded([slow], [poll(1)])) == 6.0
    # With two requests in flight one node is polled at a time.
    assert made.seconds_needed(Loaded([], [poll(1), poll(2)])) == 6.5
    assert made.seconds_needed(Loaded([], [poll(1), poll(2), slow])) == 32.0


def test_a_tick_must_have_the_longest_time_out_of_its_due_nodes_whatever_the_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = task(monkeypatch, {})
    slow = poll(9, timeout_seconds=30)
    assert made.least_seconds(Loaded([slow], [])) == 0.0
    assert made.least_seconds(Loaded([slow], [poll(1)])) == 6.0
    assert made.least_seconds(Loaded([], [poll(1), poll(2), slow])) == 31.0


def test_nodes_in_back_off_are_left_out_and_failing_ones_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    later = dataclasses.replace(DOWN, next_poll_at=NOW + timedelta(seconds=1))
    polls = [poll(1, DOWN), poll(2, later), poll(3), poll(4, None), poll(5, later, revision=2)]
    asked: list[tuple[str, int]] = []

    def load_polls(_connection: object, namespace: str, *, tick_seconds: int) -> list[NodePoll]:
        asked.append((namespace, tick_seconds))
        return polls

    monkeypatch.setattr(check_nodes, "load_polls", load_polls)
    for name, rows in {"load_absent_nodes": [], "load_meetings": [known(1)], "load_attribution": ATTRIBUTION}.items():
        monkeypatch.setattr(check_nodes, name, lambda _connection, _namespace, rows=rows: rows)
    monkeypatch.setattr(check_nodes, "load_due_months", lambda _connection, _namespace, _at: [])
    connection: Any = None
    loaded = task(monkeypatch, {}).load(connection, NOW)
    assert asked == [("default", 15)]
    assert [item.node_id for item in loaded.due] == [3, 4, 1, 5]
    assert (loaded.polls, loaded.absent, loaded.meetings) == (polls, [], [known(1)])
    assert loaded.attribution == ATTRIBUTION


async def test_a_node_is_asked_with_what_is_known_of_its_own_meetings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Mapping[str, bytes]] = {}

    async def observe(target: NodeTarget, digests: Mapping[str, bytes]) -> Poll:
        asked[target.name] = digests
        return Poll(seen(), Listing(()))

    made = task(monkeypatch, {})
    monkeypatch.setattr(made._client, "observe", observe)
    meetings = [known(1), known(2, node_id=2), known(3, secret_id=None, has_element=False)]
    polls = [poll(1), poll(2), poll(4)]
    await made.work(Loaded(polls, polls, (), meetings, ATTRIBUTION), at=NOW, seconds=5)
    assert asked == {"node-1": {"i1": b"digest"}, "node-2": {"i2": b"digest"}, "node-4": {}}


async def test_meetings_are_judged_by_the_health_that_the_round_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = dataclasses.replace(READY, failures=2, successes=0)
    coming_back = dataclasses.replace(DOWN, failures=0, successes=1, next_poll_at=None)
    polls = [poll(1), poll(2, twice), poll(3, DOWN), poll(4, coming_back), poll(5)]
    absent = [AbsentNode(6, "node-6", True, SEEN_AT, 86400), AbsentNode(7, "node-7", False, SEEN_AT, 86400)]
    meetings = [known(number, node_id=number) for number in (1, 2, 3, 5, 6, 7)] + [lost(4, node_id=4)]
    answers: dict[str, Observation | Poll | float] = {
        "node-1": Poll(seen(), Listing((meeting(8), same(9)))),
        "node-2": failed(),
        "node-3": Poll(seen(), Listing((same(3),))),
        "node-4": Poll(seen(), Listing((same(4),))),
        "node-5": failed(),
    }
    made = task(monkeypatch, answers)
    with structlog.testing.capture_logs():
        findings = await made.work(Loaded(polls, polls, absent, meetings, ATTRIBUTION), at=NOW, seconds=5)
    assert {name: value for name, value in findings.summary.items() if name.startswith("meetings_")} == {
        "meetings_open": 3,
        "meetings_lost": 3,
        "meetings_new": 1,
        "meetings_changed": 0,
        "meetings_found": 1,
        "meetings_ended": 2,
    }
    assert [(event.message, event.fields) for event in findings.events if "meetings" in event.message] == [
        (
            "meetings were lost or ended",
            {"lost": {"node-2": 1, "node-3": 1, "node-7": 1}, "ended": {"node-1": 1, "node-6": 1}},
        )
    ]
    assert [row for row in findings.changes if row["object"].startswith("meeting/")] == [
        {"object": "meeting/i8", "reason": "new", "attendees": "- → 3", "message": "ALPHA-001-m8 on node-1"},
        {"object": "meeting/i4", "reason": "found", "attendees": "3", "message": "ALPHA-001-m4 on node-4"},
        {"object": "meeting/i2", "reason": "lost", "attendees": "3", "message": "ALPHA-001-m2 on node-2"},
        {"object": "meeting/i3", "reason": "lost", "attendees": "3", "message": "ALPHA-001-m3 on node-3"},
        {"object": "meeting/i7", "reason": "lost", "attendees": "3", "message": "ALPHA-001-m7 on node-7"},
        {"object": "meeting/i1", "reason": "ended", "attendees": "3", "message": "ALPHA-001-m1 on node-1"},
        {"object": "meeting/i6", "reason": "ended", "attendees": "3", "message": "ALPHA-001-m6 on node-6"},
    ]


async def test_a_dry_run_counts_many_meetings_per_node(monkeypatch: pytest.MonkeyPatch) -> None:
    meetings: list[KnownMeeting] = [known(number) for number in range(1, 40)]
    listing = Listing(tuple(meeting(number, digest=b"changed") for number in range(31, 53)))
    made = task(monkeypatch, {"node-1": Poll(seen(), listing)})
    findings = await made.work(Loaded([poll(1)], [poll(1)], (), meetings, ATTRIBUTION), at=NOW, seconds=5)
    assert findings.changes == ({"object": "meetings of node-1", "message": "13 new, 9 changed, 30 ended"},)
