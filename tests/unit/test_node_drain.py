"""The condition Drained and the times of a drain."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from b3lb.health import LoadReason, NodeState, Reason
from b3lb.resources import BBBNodeSpec, BBBNodeStatus
from b3lb.resources.conditions import find_condition
from b3lb_operator.manifests.facts import Block, Freshness, NodeFacts, NodeRecord
from b3lb_operator.manifests.node_status import build_node_status
from tests.states import healthy

BEGIN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DEADLINE = BEGIN + timedelta(hours=1)
DEADLINE_TEXT = "2026-03-01T13:00:00Z"
BUSY = healthy(
    revision=7,
    ready_changed_at=BEGIN - timedelta(days=1),
    meetings=2,
    attendees=17,
    cpu=None,
    load_reason=LoadReason.NOT_FOUND,
    load_missed=4,
)
IDLE = dataclasses.replace(BUSY, meetings=0, attendees=0)
DEAD = dataclasses.replace(BUSY, ready=False, failures=3, reason=Reason.TIMEOUT, message="no answer within 5 s")


def spec(**fields: Any) -> BBBNodeSpec:
    return BBBNodeSpec.model_validate({"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}, **fields})


DRAINING = spec(state="Draining")


def ticks(started_at: datetime) -> Freshness:
    """A tick that took a second; the database is read when it ended."""
    finished_at = started_at + timedelta(seconds=1)
    return Freshness(tick_started_at=started_at, tick_finished_at=finished_at, read_at=finished_at)


def build(
    state: NodeState | None,
    *,
    old: dict[str, Any] | None = None,
    now: datetime = BEGIN,
    tick: datetime | None = None,
    **changes: Any,
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "spec": DRAINING,
        "generation": 1,
        "freshness": ticks(tick or now - timedelta(seconds=2)),
        "record": NodeRecord(revision=7, state=state, load=1.0, observed_at=BEGIN - timedelta(days=1)),
    }
    status = build_node_status(NodeFacts(**{**values, **changes}), old=old or {}, now=now)
    BBBNodeStatus.model_validate(status)
    return status


def drained(status: dict[str, Any]) -> tuple[str, str, str]:
    found = find_condition(status["conditions"], "Drained")
    assert found is not None
    return found["status"], found["reason"], found["message"]


RUNNING = (
    "False",
    "MeetingsRunning",
    f"2 meetings with 17 attendees still run; meetings are waited for until {DEADLINE_TEXT}",
)
WAITING = f"no good poll since the drain began; meetings are waited for until {DEADLINE_TEXT}"
DONE = ("True", "NoMeetings", "no meetings run")


def goes_at(time: str) -> str:
    return f"the node goes at {time} at the latest, or now with the annotation b3lb.io/force-delete=true"


def test_meetings_hold_up_a_drain() -> None:
    status = build(BUSY)
    assert drained(status) == RUNNING
    assert status["drain"] == {"startedAt": "2026-03-01T12:00:00Z", "deadlineAt": DEADLINE_TEXT}


@pytest.mark.parametrize("changes", [{"spec": spec()}, {}])
def test_meetings_hold_up_a_deletion_which_says_when_the_node_goes_and_how_at_once(changes: dict[str, Any]) -> None:
    status = build(BUSY, deleting=True, **changes)
    message = f"2 meetings with 17 attendees still run; {goes_at(DEADLINE_TEXT)}"
    assert drained(status) == ("False", "MeetingsRunning", message)
    assert status["drain"] == {"startedAt": "2026-03-01T12:00:00Z", "deadlineAt": DEADLINE_TEXT}


def test_a_deletion_that_was_seen_late_ends_when_its_time_is_over() -> None:
    status = build(BUSY, deleting=True, deleted_at=BEGIN - timedelta(minutes=20))
    assert drained(status)[2].endswith(goes_at("2026-03-01T12:40:00Z"))


NEVER_ANSWERED = dataclasses.replace(DEAD, proven=False, failures=1, reason=Reason.DNS, ready_changed_at=BEGIN)


def test_a_deleted_node_that_never_answered_says_that_it_goes_ten_minutes_after_it_was_found_so() -> None:
    now = BEGIN + timedelta(minutes=4)
    status = build(NEVER_ANSWERED, deleting=True, deleted_at=now, now=now)
    message = f"no good poll since the drain began; {goes_at('2026-03-01T12:10:00Z')}"
    assert drained(status) == ("Unknown", "DNS", message)
    again = build(NEVER_ANSWERED, old=status, deleting=True, deleted_at=now, now=now + timedelta(seconds=30))
    assert drained(again) == ("Unknown", "DNS", message)


def test_a_short_deadline_comes_before_ten_minutes_not_ready() -> None:
    short = spec(drain={"deadlineSeconds": 60})
    status = build(NEVER_ANSWERED, deleting=True, deleted_at=BEGIN, spec=short)
    assert drained(status)[2].endswith(goes_at("2026-03-01T12:01:00Z"))


def test_a_node_that_is_blocked_after_good_polls_goes_ten_minutes_after_it_was_blocked() -> None:
    block = Block("SecretNotFound", "no Secret")
    old = build(BUSY, block=block, spec=spec())
    status = build(BUSY, old=old, block=block, deleting=True, deleted_at=BEGIN, now=BEGIN + timedelta(minutes=5))
    assert drained(status)[2].endswith(goes_at("2026-03-01T12:10:00Z"))


def unobserved(state: NodeState, *, unreadable: bool = False) -> NodeRecord:
    return NodeRecord(
        revision=7,
        state=state,
        load=1.0,
        observed_at=BEGIN - timedelta(days=1),
        observed_in_last_tick=False,
        unreadable=unreadable,
    )


def test_a_tick_that_did_not_poll_this_node_to_the_end_does_not_end_its_drain() -> None:
    later = {"now": BEGIN + timedelta(seconds=30), "tick": BEGIN + timedelta(seconds=15)}
    assert drained(build(IDLE, old=build(BUSY), record=unobserved(IDLE), **later)) == ("Unknown", "Pending", WAITING)
    wrong_key = build(IDLE, old=build(BUSY), record=unobserved(IDLE, unreadable=True), **later)
    assert drained(wrong_key) == ("Unknown", "SecretUnreadable", WAITING)


@pytest.mark.parametrize("state", ["Active", "Cordoned", "Disabled"])
def test_a_node_that_does_not_drain_has_no_condition_and_no_times_of_a_drain(state: str) -> None:
    status = build(BUSY, old=build(BUSY), spec=spec(state=state))
    assert find_condition(status["conditions"], "Drained") is None
    assert "drain" not in status


def test_a_poll_from_before_the_drain_does_not_end_it() -> None:
    assert drained(build(IDLE)) == ("Unknown", "Pending", WAITING)


def test_a_poll_since_the_drain_began_ends_it() -> None:
    later = BEGIN + timedelta(seconds=30)
    assert drained(build(IDLE, old=build(BUSY), now=later, tick=BEGIN + timedelta(seconds=15))) == DONE
    assert drained(build(IDLE, old=build(BUSY), now=later, tick=BEGIN)) == DONE


def test_a_tick_that_began_in_the_same_second_but_before_the_drain_does_not_end_it() -> None:
    begin = BEGIN + timedelta(milliseconds=600)
    old = build(BUSY, now=begin)
    assert old["drain"]["startedAt"] == "2026-03-01T12:00:01Z"
    assert drained(build(IDLE, old=old, now=begin + timedelta(seconds=3), tick=BEGIN))[0] == "Unknown"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": dataclasses.replace(IDLE, failures=1)}, id="the last poll failed"),
        pytest.param({"state": dataclasses.replace(IDLE, revision=6)}, id="polled with another configuration"),
        pytest.param({"state": None}, id="never polled"),
        pytest.param({"state": IDLE, "guard_holds": True}, id="states are kept by the guard"),
    ],
)
def test_without_a_good_poll_nothing_is_known(changes: dict[str, Any]) -> None:
    later = BEGIN + timedelta(seconds=30)
    status = build(old=build(BUSY), now=later, tick=BEGIN + timedelta(seconds=15), **changes)
    assert drained(status) == ("Unknown", "Pending", WAITING)


def test_a_node_that_fails_while_it_drains_is_waited_for_with_its_reason() -> None:
    status = build(DEAD, old=build(BUSY), now=BEGIN + timedelta(seconds=30))
    assert drained(status) == ("Unknown", "Timeout", WAITING)


@pytest.mark.parametrize("state", [DEAD, BUSY, dataclasses.replace(IDLE, failures=1)])
def test_after_the_deadline_the_drain_is_over_whatever_runs(state: NodeState) -> None:
    status = build(state, old=build(BUSY), now=DEADLINE)
    what = "2 meetings with 17 attendees still run" if state is BUSY else "meetings may still run"
    assert drained(status) == ("False", "DeadlineExceeded", f"{what}; the deadline was {DEADLINE_TEXT}")


def test_a_good_poll_without_meetings_counts_after_the_deadline_too() -> None:
    assert drained(build(IDLE, old=build(BUSY), now=DEADLINE + timedelta(hours=1))) == DONE


def test_a_drained_node_may_be_switched_off() -> None:
    later = BEGIN + timedelta(seconds=30)
    done = build(IDLE, old=build(BUSY), now=later, tick=later - timedelta(seconds=5))
    off = build(DEAD, old=done, now=DEADLINE + timedelta(hours=1))
    assert drained(off) == DONE
    assert find_condition(off["conditions"], "Drained") == find_condition(done["conditions"], "Drained")


def test_a_drained_node_on_which_somebody_starts_a_meeting_is_not_drained_any_more() -> None:
    later = BEGIN + timedelta(seconds=30)
    done = build(IDLE, old=build(BUSY), now=later, tick=later - timedelta(seconds=5))
    assert drained(build(BUSY, old=done, now=later + timedelta(seconds=15))) == RUNNING


def test_deleting_a_draining_node_goes_on_with_its_drain() -> None:
    later = BEGIN + timedelta(minutes=10)
    status = build(BUSY, old=build(BUSY), now=later, deleting=True)
    assert status["drain"] == build(BUSY)["drain"]


def test_another_deadline_counts_from_the_same_beginning() -> None:
    shorter = spec(state="Draining", drain={"deadlineSeconds": 60})
    status = build(BUSY, old=build(BUSY), now=BEGIN + timedelta(minutes=10), spec=shorter)
    assert status["drain"] == {"startedAt": "2026-03-01T12:00:00Z", "deadlineAt": "2026-03-01T12:01:00Z"}
    assert drained(status)[1] == "DeadlineExceeded"


def test_a_node_that_is_drained_again_gets_its_whole_time_again() -> None:
    back = build(BUSY, old=build(BUSY), spec=spec())
    again = build(BUSY, old=back, now=BEGIN + timedelta(days=1))
    assert again["drain"]["startedAt"] == "2026-03-02T12:00:00Z"
